// The page around the picture: how live it is, how it travels, and why it stands if it does.
import { glassToGlass, readClock } from "/static/clock.js";
import { Graph } from "/static/graph.js";
import { KEPT_S, LivePlayer } from "/static/player.js";

const $ = (id) => document.getElementById(id);
const video = $("video");
const player = new LivePlayer(video);
let stats = null;
let isOffline = false;
let lateBefore = null;
let movedAt = performance.now();
let timeBefore = 0;
let fillsUntil = 0; // The engine holds the picture back until it is as far behind as was asked for.
self.livestream = { player, readClock: () => readClock(video), glassToGlass: () => glassToGlass(video) };

const lagGraph = new Graph($("lag-graph"), [{ name: "--accent", isFilled: true }], (top) => `${top.toFixed(1)} s`, 1);
const rateGraph = new Graph(
  $("rate-graph"),
  [{ name: "--down", isFilled: true }, { name: "--up" }],
  (top) => megabits(top),
  500_000,
);

function megabits(bps) {
  return `${(bps / 1e6).toFixed(bps < 9.95e6 ? 2 : 1)} Mbit/s`;
}

// Seconds from the capture to the picture: the engine's lag and what is buffered here.
function lag() {
  if (!stats || !stats.lag_s || !video.videoWidth) return null;
  return stats.lag_s + player.ahead();
}

function stillFor() {
  const now = performance.now();
  if (video.currentTime !== timeBefore || player.isPaused) movedAt = now;
  timeBefore = video.currentTime;
  return (now - movedAt) / 1000;
}

// [state, word, why]
function judge() {
  const still = stillFor();
  if (isOffline) return ["off", "offline", "The channel has ended, or the viewer program was stopped. Start livestream watch again; this page goes on by itself."];
  if (player.problem) return ["bad", "no picture", player.problem];
  if (player.isBlocked) return ["wait", "ready", "Press play."];
  if (performance.now() < fillsUntil && still > 0.3) return ["wait", "filling", "Filling the buffer that you asked for."];
  if (stats?.why) return [video.videoWidth ? "bad" : "wait", video.videoWidth ? "stalled" : "connecting", capital(stats.why)];
  if (!video.videoWidth) return ["wait", "connecting", "Looking for the picture."];
  if (player.isPaused) return ["wait", "paused", ""];
  if (still > 1 && player.ahead() > 0.5) return ["bad", "stalled", "Decoder: this browser cannot keep up with the picture."];
  if (still > 1) return ["bad", "stalled", "Pieces were lost; the picture goes on at the next key frame."];
  if (!player.isFollowing) return ["wait", "looking back", ""];
  return ["live", "LIVE", ""];
}

function capital(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function refresh() {
  const [state, word, why] = judge();
  const seconds = lag();
  const hasLag = seconds !== null && state !== "off";
  setText("badge-text", hasLag ? `${word} ${seconds.toFixed(1)} s` : word);
  $("badge").dataset.state = state;
  setText("lag", hasLag ? seconds.toFixed(2) : "–");
  if ($("why").hidden === Boolean(why)) $("why").hidden = !why;
  setText("why", why);
  const behind = player.ahead();
  const isLive = player.isFollowing && !player.isPaused;
  $("live").setAttribute("aria-pressed", String(isLive));
  const seek = $("seek");
  seek.min = String(-Math.max(1, Math.min(KEPT_S, Math.floor(player.depth()))));
  if (!seek.matches(":active")) seek.value = String(isLive ? 0 : -behind);
  setText("position", isLive || behind < 1 ? "" : `−${Math.round(behind)} s`);
  $("pause").dataset.icon = player.isPaused || player.isBlocked ? "play" : "pause";
  $("pause").setAttribute("aria-label", player.isPaused ? "Play" : "Pause");
  $("mute").dataset.icon = video.muted ? "muted" : "sound";
  $("mute").setAttribute("aria-label", video.muted ? "Sound on" : "Sound off");
  $("unmute").hidden = !video.muted || !video.videoWidth || wasSoundTouched;
}

function setText(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

function show(news) {
  const first = stats === null;
  stats = news.stats;
  if (first) setTarget(stats.latency_target_s);
  if (player.about) {
    setText("name", player.about.name || "livestream");
    document.title = `${player.about.name || "live"} · livestream`;
    if ($("link").value !== player.about.link) $("link").value = player.about.link;
  }
  setText("down", megabits(stats.down_bps));
  setText("up", megabits(stats.up_bps));
  setText("count", String(stats.peers));
  setText("buffer", `${stats.buffer_s.toFixed(2)} s`);
  setText("late", `${((100 * stats.pieces_late) / Math.max(1, stats.pieces_received)).toFixed(2)} %`);
  const ratio = stats.down_bps ? stats.up_bps / stats.down_bps : 0;
  setText("ratio", ratio.toFixed(2));
  const publisher = stats.pieces_received ? Math.round(100 * stats.publisher_share) : 100;
  $("share-bar").value = 100 - publisher;
  setText("share-text", `${100 - publisher} % from other viewers, ${publisher} % from the publisher`);
  setText("place", place(stats));
  const glass = glassToGlass(video);
  $("glass").hidden = glass === null;
  if (glass !== null) setText("glass", `Clock in the picture: ${(glass / 1000).toFixed(2)} s`);
  lagGraph.add([lag()], { rule: stats.latency_target_s, isMarked: lateBefore !== null && stats.pieces_late > lateBefore });
  lateBefore = stats.pieces_late;
  rateGraph.add([stats.down_bps, stats.up_bps]);
  showPeers(news.peers);
}

// Where this viewer stands in the trees.
function place(stats) {
  const feeders = stats.feeders === 1 ? "1 peer feeds" : `${stats.feeders} peers feed`;
  if (!stats.feeders) return "Nobody feeds this viewer yet.";
  const children = stats.children === 0 ? "nobody" : stats.children === 1 ? "1 child" : `${stats.children} children`;
  return `${feeders} this viewer, ${stats.depth} deep; it feeds ${children}.`;
}

function showPeers(peers) {
  $("no-peers").hidden = peers.length > 0;
  $("peers").replaceChildren(...peers.map((peer) => {
    const row = document.createElement("tr");
    const who = row.insertCell();
    who.append(peer.address, Object.assign(document.createElement("small"), { textContent: `${peer.roles || "neighbour"}, ${peer.transport.toUpperCase()}` }));
    for (const text of [peer.rtt_ms.toFixed(1), (peer.down_bps / 1e6).toFixed(2), (peer.up_bps / 1e6).toFixed(2)]) {
      row.insertCell().textContent = text;
    }
    return row;
  }));
}

let wasSoundTouched = false;
function toggleSound() {
  video.muted = !video.muted;
  wasSoundTouched = true;
  refresh();
}

function togglePause() {
  if (player.isBlocked) player.jumpToLive();
  else player.togglePause();
  refresh();
}

function toggleFull() {
  if (document.fullscreenElement) document.exitFullscreen();
  else $("screen").requestFullscreen?.();
}

function lookBack(seconds) {
  player.seekBehind(Math.max(0, player.ahead() + seconds));
  refresh();
}

function setTarget(seconds) {
  $("target").value = String(seconds);
  setText("target-value", `${Number(seconds).toFixed(1)} s`);
}

async function sendTarget() {
  const seconds = Number($("target").value);
  const before = stats?.latency_target_s ?? seconds;
  const answer = await fetch("/api/v1/latency", {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Livestream": "1" },
    body: JSON.stringify({ seconds }),
  }).catch(() => null);
  if (answer?.ok) fillsUntil = performance.now() + 1000 * (seconds - before) + 500;
  else setTarget(before);
}

async function copyLink() {
  const link = $("link");
  link.select();
  try {
    await navigator.clipboard.writeText(link.value);
  } catch {
    document.execCommand("copy"); // Without TLS, on another machine, there is no clipboard object.
  }
  setText("copy", "Copied");
  setTimeout(() => setText("copy", "Copy"), 1500);
}

const KEYS = {
  " ": togglePause,
  k: togglePause,
  l: () => player.jumpToLive(),
  m: toggleSound,
  f: toggleFull,
  ArrowLeft: () => lookBack(5),
  ArrowRight: () => lookBack(-5),
};
document.addEventListener("keydown", (event) => {
  // Fields and buttons keep the keys that are theirs.
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
  if (event.key === " " && event.target.matches("button")) return;
  const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act) return;
  event.preventDefault();
  act();
  refresh();
});

$("pause").addEventListener("click", togglePause);
$("live").addEventListener("click", () => { player.jumpToLive(); refresh(); });
$("mute").addEventListener("click", toggleSound);
$("unmute").addEventListener("click", toggleSound);
$("full").addEventListener("click", toggleFull);
video.addEventListener("click", togglePause);
video.addEventListener("dblclick", toggleFull);
$("seek").addEventListener("input", () => player.seekBehind(-Number($("seek").value)));
$("target").addEventListener("input", () => setTarget($("target").value));
$("target").addEventListener("change", sendTarget);
$("copy").addEventListener("click", copyLink);
$("link").addEventListener("focus", () => $("link").select());

const events = new EventSource("/api/v1/events");
events.onmessage = (event) => { isOffline = false; show(JSON.parse(event.data)); };
events.onerror = () => { isOffline = true; };
setInterval(refresh, 250);
player.run();
