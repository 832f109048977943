"""Connections to an MQTT broker. The only folder that knows paho."""
