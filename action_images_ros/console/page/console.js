"use strict";
const $ = (id) => document.getElementById(id);
const KINDS = ["live", "actions", "video"];
const COLOURS = { computing: "#5b6675", decoding: "#8f7bd6", played: "#3ecf8e", ahead: "#2a4a3f", passed: "#1c6f50", refused: "#ff5c68" };
let socket = null, state = null, asked = 0, open = new Set(), framesSeen = 0;
const waiting = new Map();

/* ---- stop: by every way there is, at once */

const STOP_URL = SETTINGS.stop_port ? `${location.protocol}//${location.hostname}:${SETTINGS.stop_port}` : null;

async function post(url) {
  const answer = await fetch(url, { method: "POST", signal: AbortSignal.timeout(4000) });
  const said = await answer.json();
  if (!said.ok) throw new Error(said.message);
  return said.message;
}

async function stop() {
  const button = $("stop");
  button.className = "";
  const ways = [post("stop"), send("stop")];
  if (STOP_URL) ways.unshift(post(STOP_URL + "/stop"));
  try {
    const message = await Promise.any(ways);
    button.className = "done";
    button.title = message;
  } catch (errors) {
    button.className = "failed";
    note("NOT STOPPED: " + errors.errors.map((e) => e.message).join("; "), "use the arm's own stop switch", "error");
  }
}

$("stop").addEventListener("pointerdown", (event) => { event.preventDefault(); stop(); });
$("stop").addEventListener("click", (event) => { if (event.detail === 0) stop(); });
document.addEventListener("keydown", (event) => {
  const typing = document.activeElement && document.activeElement.id === "instruction";
  if (event.code === "Escape" || (event.code === "Space" && !typing)) { event.preventDefault(); stop(); }
}, true);

async function watchStop() {
  if (!STOP_URL) { $("link_stop").className = "dot warn"; return; }
  try {
    const answer = await fetch(STOP_URL + "/health", { signal: AbortSignal.timeout(3000) });
    $("link_stop").className = answer.ok ? "dot ok" : "dot error";
    $("link_stop").title = (await answer.json()).message;
  } catch (error) {
    $("link_stop").className = "dot error";
    $("link_stop").title = "the stop button's own server cannot be reached; STOP still goes through the page";
  }
}
setInterval(watchStop, 2000);
watchStop();

/* ---- the connection */

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => { $("link_page").className = "dot ok"; };
  socket.onmessage = (event) => {
    if (typeof event.data !== "string") { showPicture(new Uint8Array(event.data)); return; }
    const message = JSON.parse(event.data);
    if (message.state) show(message.state);
    if (message.answer) answered(message.answer);
  };
  socket.onclose = () => {
    $("link_page").className = "dot error";
    for (const [, w] of waiting) w.reject(new Error("the page has lost its connection"));
    waiting.clear();
    if (state) { state.controller.state = "unreachable"; showController(state.controller); }
    note("no connection to the console", "trying again; STOP still goes to the stop button's own server", "error");
    setTimeout(connect, 1000);
  };
}

function send(what, value) {
  return new Promise((resolve, reject) => {
    if (!socket || socket.readyState !== WebSocket.OPEN) { reject(new Error("the page is not connected")); return; }
    const id = ++asked;
    waiting.set(id, { resolve, reject });
    socket.send(JSON.stringify({ do: what, value, id }));
  });
}

function answered(answer) {
  const w = waiting.get(answer.id);
  waiting.delete(answer.id);
  if (w) (answer.ok ? w.resolve(answer.message) : w.reject(new Error(answer.message)));
}

async function press(button, what, value) {
  button.classList.add("wait");
  try { await send(what, value); } catch (error) { note(`${what}: ${error.message}`, "", "warn"); }
  button.classList.remove("wait");
  button.blur();
}
for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", () => press(button, button.dataset.do));
for (const button of document.querySelectorAll("[data-who]")) button.addEventListener("click", () => press(button, "in_control", button.dataset.who));

/* what deletes asks for a second click */
let sureUntil = 0;
$("discard").addEventListener("click", () => {
  const sure = Date.now() < sureUntil;
  sureUntil = sure ? 0 : Date.now() + 4000;
  if (sure) press($("discard"), "discard");
  showSure();
});
function showSure() {
  const sure = Date.now() < sureUntil && !$("discard").disabled;
  $("discard").textContent = sure ? "Delete?" : "Discard";
  $("discard").classList.toggle("sure", sure);
}

async function instruct() {
  try { await send("instruct", $("instruction").value); $("instruction").blur(); } catch (error) { note(error.message, "", "warn"); }
}
$("instruct").addEventListener("submit", (event) => { event.preventDefault(); instruct(); });

let picked = -1;
function showPast() {
  const list = $("past"), known = state ? state.instructions : [];
  list.hidden = !known.length || document.activeElement !== $("instruction");
  if (list.hidden) return;
  list.replaceChildren(...known.map((text, k) => Object.assign(element("li", k === picked ? "on" : "", text), { title: text })));
}
$("past").addEventListener("pointerdown", (event) => {
  event.preventDefault();
  if (event.target.tagName !== "LI") return;
  $("instruction").value = event.target.textContent;
  instruct();
});
$("instruction").addEventListener("focus", () => { picked = -1; $("instruction").select(); showPast(); });
$("instruction").addEventListener("blur", () => { showPast(); setTimeout(keepTyping); });

/* A scene that has loaded takes the focus; not from somebody who types. */
function keepTyping() {
  if (document.activeElement !== $("scene_frame") || $("scene").matches(":hover")) return;
  const input = $("instruction"), { selectionStart, selectionEnd } = input;
  input.focus();
  input.setSelectionRange(selectionStart, selectionEnd);
}
$("instruction").addEventListener("keydown", (event) => {
  const way = { ArrowDown: 1, ArrowUp: -1 }[event.key], known = state ? state.instructions : [];
  if (!way || !known.length) return;
  event.preventDefault();
  picked = (Math.max(picked, way > 0 ? -1 : 0) + way + known.length) % known.length;
  $("instruction").value = known[picked];
  showPast();
});

let sliding = false;
$("speed").addEventListener("input", () => { sliding = true; $("speed_value").textContent = `${(Number($("speed").value) / 100).toFixed(2)}×`; });
$("speed").addEventListener("change", async () => {
  try { await send("speed", Number($("speed").value) / 100); } catch (error) { note(error.message, "", "warn"); }
  sliding = false;
  $("speed").blur();
});

/* ---- what is shown */

let noteUntil = 0;
function note(text, remedy, kind) {
  noteUntil = Date.now() + 6000;
  banner(text, remedy, kind);
}
function banner(text, remedy, kind) {
  const b = $("banner");
  b.className = kind;
  b.firstElementChild.textContent = text;
  b.lastElementChild.textContent = remedy ? `→ ${remedy}` : "";
  b.title = remedy ? `${text}: ${remedy}` : text;
}

function element(tag, name, text) {
  const e = document.createElement(tag);
  if (name) e.className = name;
  if (text !== undefined) e.textContent = text;
  return e;
}

function cameraPanels(views) {
  if ($("cameras").childElementCount) return;
  for (const view of views) {
    const panel = element("section", "panel camera");
    panel.dataset.view = view;
    const head = element("h2", "", view);
    head.append(element("span", "facts"));
    panel.append(head);
    const live = element("div", "live"), made = element("div", "made"), pictures = element("div", "pictures");
    live.append(element("img", "picture live_picture"));
    for (const [kind, what] of [["video", "predicted video"], ["actions", "action images"]]) {
      const figure = element("figure", kind), caption = element("figcaption", "", `${what} `);
      caption.append(element("span", "span"));
      figure.append(element("img", `picture ${kind}_picture`), caption);
      made.append(figure);
    }
    pictures.append(live, made);
    panel.append(pictures);
    $("cameras").append(panel);
  }
}

/* One after the other: where the browser is slow, what is overtaken is left out, instead of a queue before STOP. */
const newest = new Map();
function load(image, jpeg) {
  const url = URL.createObjectURL(jpeg);
  image.dataset.busy = "1";
  image.onload = image.onerror = () => {
    URL.revokeObjectURL(url);
    delete image.dataset.busy;
    const next = newest.get(image);
    newest.delete(image);
    if (next) load(image, next);
  };
  image.src = url;
}

function showPicture(bytes) {
  const kind = KINDS[bytes[0]], view = new TextDecoder().decode(bytes.subarray(2, 2 + bytes[1]));
  const panel = document.querySelector(`.camera[data-view="${CSS.escape(view)}"]`);
  if (!panel) return;
  const image = panel.querySelector(`.${kind}_picture`);
  const jpeg = new Blob([bytes.subarray(2 + bytes[1])], { type: "image/jpeg" });
  if (image.dataset.busy) newest.set(image, jpeg);
  else load(image, jpeg);
  image.dataset.number = Number(image.dataset.number || 0) + 1;
  if (kind !== "live") for (const part of [image.parentElement, image.parentElement.parentElement]) part.classList.add("on");
  framesSeen++;
}

function show(s) {
  state = s;
  cameraPanels(s.views);
  $("cell").textContent = s.cell;
  showController(s.controller);
  for (const c of s.cameras) {
    const facts = document.querySelector(`.camera[data-view="${CSS.escape(c.name)}"] .facts`);
    if (facts) facts.textContent = c.rate_hz === null ? c.message
      : `${c.rate_hz.toFixed(1)} Hz, ${c.age_ms === null ? "–" : c.age_ms.toFixed(0)} ms old` + (s.skew_ms === null ? "" : `, skew ${s.skew_ms.toFixed(1)} ms`) + (c.level === "ok" ? "" : ` · ${c.message}`);
  }
  $("instruction_now").textContent = s.instruction ? `“${s.instruction}”` : "no instruction yet";
  showInstruction(s.instruction);
  if (s.chunk.span_s) for (const span of document.querySelectorAll("figcaption .span")) span.textContent = `now to +${s.chunk.span_s} s`;
  for (const button of document.querySelectorAll("[data-who]")) button.className = button.dataset.who === s.control_source ? "on" : "";
  showRecorder(s.recorder, s.offers);
  showSpeed(s.speed);
  showStages(s.stages);
  showStatuses(s.statuses);
  showEvents(s.events);
  drawBars(s);
}

/* the field follows the graph, unless somebody writes into it */
let told = "";
function showInstruction(text) {
  const input = $("instruction");
  if (text === told || document.activeElement === input) return;
  if (!input.value || input.value === told) input.value = text;
  told = text;
}

function showController(c) {
  $("state").textContent = c.state;
  $("state").className = `pill ${c.state}`;
  for (const step of $("machine").children) step.className = step.textContent === c.state ? `on ${c.state}` : "";
  if (Date.now() < noteUntil) return;
  if (c.state === "fault" || c.state === "unreachable") banner(c.fault, c.remedy, "error");
  else if (c.state === "holding") banner(`holding: ${c.fault}`, c.remedy, "warn");
  else if (c.last) banner(`last ${c.last.state}, ${since(c.last.ago_s)} ago: ${c.last.fault}`, c.last.remedy, "");
  else banner("no fault so far", "", "");
}

function showRecorder(r, offers) {
  const has = (name) => offers.includes(name), on = Boolean(r.recording) && has("end_record");
  const button = $("record");
  button.disabled = !has("record");
  button.dataset.do = on ? "end_record" : "record";
  button.firstChild.textContent = on ? `End ${Math.round(r.seconds)} s` : "Record";
  button.classList.toggle("on", on);
  button.title = has("record") ? (r.directory || r.last || "") : "no recorder runs in this graph";
  $("success").disabled = !has("success") || !on;
  $("failure").disabled = !has("failure") || !on;
  $("discard").disabled = !has("discard") || !on;
  showSure();
  $("next_scene").hidden = !has("next_scene");
}

function showSpeed(s) {
  const slider = $("speed");
  slider.disabled = !s.settable;
  slider.title = s.settable ? "speed of the policy's motion; slower acts at once, faster with the next chunks" : "this controller takes its speed when it starts";
  if (s.value === null || s.value === undefined) return;
  slider.min = Math.max(1, Math.round(100 * s.minimum));
  slider.max = Math.round(100 * Math.max(1, s.value));
  if (sliding) return;
  slider.value = Math.round(100 * s.value);
  $("speed_value").textContent = `${s.value.toFixed(2)}×`;
}

function showStages(stages) {
  const most = Math.max(1, ...stages.map((s) => s.p99_ms || 0));
  $("stages").replaceChildren(...stages.map((s) => {
    const row = element("div", "stage");
    row.append(element("span", "", s.which ? `${s.name} *` : s.name));
    if (s.which) row.title = `${s.name}: ${s.which}`;
    const bar = element("div", "bar");
    for (const key of ["p99", "p50"]) {
      const part = element("i", key);
      part.style.width = `${100 * Math.min(1, (s[key + "_ms"] || 0) / most)}%`;
      bar.append(part);
    }
    row.append(bar);
    const text = element("b", "", s.p50_ms === null ? "–" : `${milli(s.p50_ms)} `);
    if (s.p50_ms !== null) text.append(element("small", "", `${milli(s.p99_ms)} ms`));
    row.append(text);
    return row;
  }));
}
const milli = (x) => (x === null ? "–" : x < 10 ? x.toFixed(2) : x.toFixed(0));

function showStatuses(statuses) {
  const worst = statuses.filter((s) => s.level !== "ok").length;
  $("health_note").textContent = worst ? `${worst} of ${statuses.length} need attention` : `${statuses.length} parts, all well`;
  $("statuses").replaceChildren(...statuses.map((s) => {
    const row = element("div", `status ${s.level}`);
    const head = element("div", "head");
    head.append(element("span", `dot ${s.level}`), element("span", "", s.name), element("span", "", s.message));
    row.append(head);
    if (s.level !== "ok" && s.remedy) row.append(element("div", "remedy", `→ ${s.remedy}`));
    if (open.has(s.name)) {
      const table = element("table");
      for (const [key, value] of Object.entries(s.values)) {
        const line = element("tr");
        line.append(element("td", "", key), element("td", "", value));
        table.append(line);
      }
      row.append(table);
    }
    row.onclick = () => { open.has(s.name) ? open.delete(s.name) : open.add(s.name); showStatuses(state.statuses); };
    return row;
  }));
}

function showEvents(events) {
  $("events").replaceChildren(...events.map((e) => {
    const row = element("li", e.kind);
    row.append(element("time", "", since(e.ago_s)), element("span", "", e.text));
    return row;
  }));
}

const since = (ago_s) => (-ago_s < 100 ? `${Math.max(0, -ago_s).toFixed(0)} s` : `${(-ago_s / 60).toFixed(0)} min`);

/* ---- the chunk timeline: computing, decoding, played, dropped */

function drawBars(s) {
  const canvas = $("bars"), scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (!width || !height) return;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const g = canvas.getContext("2d");
  g.scale(scale, scale);
  const [from, to] = s.window_s, axis = height - 16;
  const x = (t) => (t - from) / (to - from) * width;
  g.font = "10px system-ui, DejaVu Sans, sans-serif";
  g.textAlign = "center";
  for (let t = Math.ceil(from); t <= to; t++) {
    g.fillStyle = t % 5 ? "#1f252e" : "#2a313c";
    g.fillRect(x(t), 0, 1, axis);
    if (t % 2 === 0 && t > from && t < to) { g.fillStyle = "#8b94a3"; g.fillText(t === 0 ? "now" : `${t > 0 ? "+" : ""}${t} s`, x(t), height - 4); }
  }
  const lanes = Math.max(4, Math.floor((axis - 4) / 13));
  s.chunks.forEach((c) => {
    const lane = c.number % lanes;
    drawChunk(g, c, x, 3 + lane * ((axis - 4) / lanes), Math.min(10, (axis - 4) / lanes - 3));
  });
  g.fillStyle = "#dfe3ea";
  g.fillRect(x(0), 0, 1.5, axis);
  const n = s.chunk_counts, c = s.chunk;
  $("chunk_note").textContent = $("chunk_note").title = `${n.accepted} taken, ${n.refused} refused` + (c.steps ? ` · newest: ${c.credible} of ${c.steps} steps credible, ${c.reproj_rms_px} px rms, gripper ${c.gripper}${c.why ? ", " + c.why : ""}` : "");
}

function drawChunk(g, c, x, y, h) {
  const bar = (a, b, colour) => { if (a !== null && b !== null && b > a) { g.fillStyle = colour; g.fillRect(x(a), y, Math.max(1, x(b) - x(a)), h); } };
  bar(c.stamp_s, c.generated_s, COLOURS.computing);
  bar(c.generated_s, c.decoded_s, COLOURS.decoding);
  if (c.verdict === "refused") {
    const at = x(c.judged_s);
    g.strokeStyle = COLOURS.refused;
    g.lineWidth = 2;
    g.beginPath();
    g.moveTo(at, y + 1); g.lineTo(at + h - 2, y + h - 1); g.moveTo(at + h - 2, y + 1); g.lineTo(at, y + h - 1);
    g.stroke();
  } else if (c.verdict === "accepted") {
    const until = Math.max(c.played_until_s, c.judged_s);
    bar(c.judged_s, Math.min(until, 0), COLOURS.played);
    bar(Math.max(Math.min(until, 0), c.judged_s), c.end_s, COLOURS.ahead);
    if (until > 0) bar(Math.max(0, c.judged_s), c.end_s, COLOURS.passed);
  }
}

$("key").append(...Object.entries({ computing: "computing", decoding: "decoding", played: "executed", passed: "planned", ahead: "replaced", refused: "refused" })
  .map(([key, text]) => {
    const entry = element("span"), mark = element("i");
    mark.style.background = COLOURS[key];
    entry.append(mark, text);
    return entry;
  }));

/* without a graphics card the scene draws coarsely and seldom, so that it leaves the processor to control */
function drawnByProcessor() {
  const g = document.createElement("canvas").getContext("webgl"), names = g && g.getExtension("WEBGL_debug_renderer_info");
  return Boolean(names) && /swiftshader|llvmpipe|software|basic render/i.test(g.getParameter(names.UNMASKED_RENDERER_WEBGL));
}

/* ---- the scene: on this machine under its other name, so that browsers take it for another site and run it in a
   process of its own: however long it draws, the button answers at once */

if (SETTINGS.scene) {
  const other = { localhost: "127.0.0.1", "127.0.0.1": "localhost" }[location.hostname];
  const host = other ? `${location.protocol}//${other}${location.port ? ":" + location.port : ""}/` : "";
  $("scene_frame").src = host + SETTINGS.scene + (drawnByProcessor() ? "&slow&fixedDpr=0.6" : "");
  window.addEventListener("message", (event) => {
    if (event.source !== $("scene_frame").contentWindow) return;
    if (event.data === "stop") stop();
    if (event.data === "scene") $("scene").classList.remove("loading");
  });
  $("scene_frame").addEventListener("load", () => setTimeout(() => $("scene").classList.remove("loading"), 60000));
} else {
  $("scene").classList.remove("loading");
  $("scene_frame").remove();
}
connect();
