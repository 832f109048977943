"use strict";
// Every text of the line goes in by textContent: nothing that a PLC, a file name or a config says is markup.

const STALE_MS = 3000;
const RETRY_MS = 3000;
const WORDS = { PASS: "PASS", FAIL: "FAIL", NO_VERDICT: "NO VERDICT", ESCAPE: "WRONG PASS" };
const byId = (id) => document.getElementById(id);

function make(parent, tag, name = "", text = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.textContent = text;
  parent.append(element);
  return element;
}

function tag(element, kind, text) {
  element.className = `tag ${kind}`;
  element.textContent = text;
}

const spoken = (code) => code.replaceAll("_", " ");
const whole = (number) => number.toLocaleString("en").replaceAll(",", "\u202f");
const ms = (number) => (number === null ? "\u2013" : `${number.toFixed(number < 10 ? 1 : 0)}`);

function span(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const s = Math.floor(seconds);
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

const chance = (last) => (last.score === null ? spoken(last.reason) : `P(defect) ${last.score.toFixed(3)}`);

// The verdict as the picture's label shows it: a defective part that was passed must not look like a good one.
const shown = (last) => (last.label === "ng" && last.outcome === "PASS" ? "ESCAPE" : last.outcome);

function compared(last) {
  if (!last.label) return "";
  if (shown(last) === "ESCAPE") return "labelled ng, but passed (escape)";
  if (last.label === "ok" && last.outcome === "FAIL") return "labelled ok, but rejected (overkill)";
  return `labelled ${last.label}`;
}

const drifted = (alarms) => (alarms.length ? `drift: ${alarms.map(spoken).join(", ")}` : "");

class Pair {
  constructor(list, title) {
    this.box = make(list, "div");
    make(this.box, "dt", "", title);
    this.value = make(this.box, "dd");
  }
}

class Figure extends Pair {
  set(text, unit = "", alarm = false) {
    this.value.textContent = text;
    if (unit) make(this.value, "small", "", ` ${unit}`);
    this.box.className = alarm ? "alarm" : "";
  }
}

class State extends Pair {
  constructor(list, title) {
    super(list, title);
    this.tag = make(this.value, "span");
    this.note = make(this.value, "span", "note");
  }
  set(kind, word, note) {
    tag(this.tag, kind, word);
    this.note.textContent = note;
  }
}

class Camera {
  constructor(parent, station, name) {
    this.path = `picture/${encodeURIComponent(station)}/${encodeURIComponent(name)}.jpg`;
    this.name = name;
    this.shown = null;
    const figure = make(parent, "figure");
    const frame = make(figure, "div", "picture");
    this.image = make(frame, "img");
    this.image.alt = `last picture of camera ${name}`;
    this.image.hidden = true;
    this.image.onerror = () => this.blank();
    this.empty = make(frame, "p", "", "no picture");
    this.banner = make(figure, "div", "verdict");
    this.word = make(this.banner, "strong");
    this.score = make(this.banner, "span");
    const caption = make(figure, "figcaption");
    const first = make(caption, "div", "row");
    this.part = make(first, "p");
    this.up = make(first, "span");
    this.note = make(caption, "p", "note");
    this.trouble = make(caption, "p", "drift");
    this.alarms = make(caption, "p", "drift");
  }
  blank() {
    this.image.hidden = true;
    this.empty.hidden = false;
    this.shown = null;
  }
  set(view) {
    if (view.picture === null) this.blank();
    else if (view.picture !== this.shown && this.image.complete) {
      this.shown = view.picture;
      this.image.src = `${this.path}?n=${view.picture}`;
      this.image.hidden = false;
      this.empty.hidden = true;
    }
    tag(this.up, view.up ? "plain" : "bad", `camera ${this.name} ${view.up ? "connected" : "DOWN"}`);
    this.trouble.textContent = spoken(view.trouble);
    this.alarms.textContent = drifted(view.alarms);
    const last = view.last;
    this.banner.className = `verdict ${last ? shown(last) : ""}`;
    if (!last) {
      this.word.textContent = "\u2013";
      this.score.textContent = "no part yet";
      this.part.textContent = this.note.textContent = "";
      return;
    }
    this.word.textContent = WORDS[shown(last)];
    this.score.textContent = chance(last);
    this.part.textContent = `part ${last.part}`;
    const notes = [`${span(last.age_s)} ago`, `reason ${spoken(last.reason)}`];
    if (last.label) notes.push(compared(last));
    if (last.source) notes.push(last.source);
    this.note.textContent = notes.join(" \u00b7 ");
  }
}

class Station {
  constructor(parent, view) {
    const box = make(parent, "section", "station");
    const header = make(box, "header");
    make(header, "h2", "", view.name);
    this.mode = make(header, "span", "note");
    this.state = make(header, "span");
    this.broker = make(header, "span");
    const cameras = make(box, "div", "cameras");
    this.cameras = view.cameras.map((camera) => new Camera(cameras, view.name, camera.name));
    const numbers = make(box, "dl", "numbers");
    for (const [key, title] of [
      ["pass", "PASS"], ["fail", "FAIL"], ["none", "NO VERDICT"], ["late", "late"],
      ["rate", "rate"], ["p50", "latency p50"], ["p99", "latency p99"], ["refused", "refused"],
    ]) this[key] = new Figure(numbers, title);
    this.account = make(box, "p", "account");
    this.reasons = make(box, "p", "note");
    this.alarms = make(box, "p", "drift");
    this.agreement = make(box, "p", "note");
  }
  set(view) {
    const total = (outcome) => view.counts.reduce((sum, c) => sum + (c.outcome === outcome ? c.count : 0), 0);
    const pass = total("PASS"), fail = total("FAIL"), none = total("NO_VERDICT");
    this.mode.textContent = view.mode.startsWith("free") ? "free-running" : view.mode;
    const word = spoken(view.state).toUpperCase();
    const reason = view.state_reason ? `: ${spoken(view.state_reason)}` : "";
    tag(this.state, view.state === "ready" ? "good" : "bad", word + reason);
    tag(this.broker, view.broker_up ? "plain" : "bad", view.broker_up ? "broker connected" : "BROKER AWAY");
    view.cameras.forEach((camera, index) => this.cameras[index].set(camera));
    this.pass.set(whole(pass));
    this.fail.set(whole(fail));
    this.none.set(whole(none));
    this.late.set(whole(view.late), "", view.late > 0);
    this.rate.set(view.rate_per_s.toFixed(1), "/s");
    this.p50.set(ms(view.p50_ms), "ms");
    const slow = view.p99_ms !== null && view.p99_ms > view.deadline_ms;
    this.p99.set(ms(view.p99_ms), slow ? `ms, over ${ms(view.deadline_ms)}` : `of ${ms(view.deadline_ms)} ms`, slow);
    this.refused.set(whole(view.refused));
    const difference = view.captured - pass - fail - none - view.opened;
    this.account.textContent = "";
    make(this.account, "b", "", `${whole(view.captured)} captured`);
    this.account.append(` = ${whole(pass + fail + none)} verdicts + ${whole(view.opened)} open`);
    if (difference) make(this.account, "b", "", ` \u2014 ${whole(difference)} UNACCOUNTED`);
    const shown = view.counts.filter((c) => c.count && c.reason !== "score");
    this.reasons.textContent = shown.map((c) => `${WORDS[c.outcome]} ${spoken(c.reason)} ${whole(c.count)}`).join(" \u00b7 ");
    this.alarms.textContent = drifted(view.alarms);
    const a = view.agreement;
    this.agreement.textContent = a
      ? `Labelled pictures: ${whole(a.ok + a.ng - a.escapes - a.overkill)} of ${whole(a.ok + a.ng)} judged as labelled \u00b7 ` +
        `of ${whole(a.ng)} labelled ng, ${whole(a.escapes)} passed (escapes) \u00b7 ` +
        `of ${whole(a.ok)} labelled ok, ${whole(a.overkill)} rejected (overkill)`
      : "";
  }
}

const worker = new State(byId("plant"), "worker");
const outbox = new State(byId("plant"), "records");
const uptime = new State(byId("plant"), "session");
let stations = [];
let shape = "";
let heard = 0;
let missing = "";

function show(now) {
  const wanted = JSON.stringify(now.stations.map((s) => [s.name, s.cameras.map((c) => c.name)]));
  if (wanted !== shape) {
    byId("stations").textContent = "";
    stations = now.stations.map((view) => new Station(byId("stations"), view));
    shape = wanted;
  }
  now.stations.forEach((view, index) => stations[index].set(view));
  const lacking = now.stations.filter((s) => s.state !== "ready" || !s.broker_up).length;
  if (!lacking) missing = "";
  else missing = now.stations.length === 1 ? "STATION NOT READY" : `${lacking} OF ${now.stations.length} STATIONS NOT READY`;
  byId("place").textContent = `${now.site} / ${now.line}`;
  document.title = `${now.line} \u2013 linegate`;
  const w = now.worker;
  const restarts = w.restarts ? `${whole(w.restarts)} restart${w.restarts === 1 ? "" : "s"}` : "";
  worker.set(w.ready ? "good" : "bad", w.ready ? "READY" : "NOT READY", [w.backend, w.detail, restarts].filter(Boolean).join(" \u00b7 "));
  const o = now.outbox;
  const waiting = o.depth ? `${whole(o.depth)} waiting, oldest ${span(o.oldest_age_s)}` : "all delivered";
  const kind = o.lost ? "bad" : o.broker_up ? "good" : "warn";
  outbox.set(kind, o.lost ? `${whole(o.lost)} LOST` : o.broker_up ? "DELIVERING" : "KEPT", waiting);
  uptime.set("plain", now.session, `up ${span(now.uptime_s)}`);
  byId("about").textContent = `linegate ${now.version} \u00b7 model ${w.model || "none"}`;
}

function watch() {
  const quiet = performance.now() - heard;
  const stale = heard > 0 && quiet > STALE_MS;
  document.body.classList.toggle("stale", stale);
  byId("stale").hidden = !stale;
  if (stale) {
    byId("stale").textContent = `No news from linegate for ${span(quiet / 1000)}: what stands below is old.`;
    tag(byId("link"), "bad", "NO CONNECTION");
  } else if (heard) tag(byId("link"), missing ? "bad" : "good", missing ? `LIVE \u00b7 ${missing}` : "LIVE");
}

function listen() {
  const events = new EventSource("events");
  events.onmessage = (event) => {
    show(JSON.parse(event.data));
    heard = performance.now();
    watch();
  };
  events.onerror = () => {
    // A refused stream (too many viewers, a restart behind a proxy) is never retried by the browser itself.
    if (events.readyState === EventSource.CLOSED) {
      events.close();
      if (!heard) tag(byId("link"), "warn", "TRYING AGAIN");
      setTimeout(listen, RETRY_MS);
    }
  };
}

setInterval(watch, 500);
listen();
