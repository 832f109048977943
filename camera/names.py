"""File names as text for people: a file system holds names that no terminal and no UTF-8 text can."""


def shown(name: object) -> str:
    """`name` (text or a path) on one line in valid UTF-8: what cannot be printed becomes an escape."""
    text = str(name)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # a byte that is not UTF-8, as Python carries it
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")
