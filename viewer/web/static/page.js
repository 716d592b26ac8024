"use strict";
// The page: feeds MediaSource from live.mp4, keeps near the live edge, and shows how it goes.
const $ = (id) => document.getElementById(id);
const video = $("video");
const Source = self.ManagedMediaSource || self.MediaSource;
let target = 0.15; // Seconds buffered here; the engine has delayed the picture already.
let engineLag = null;
const history = [];

async function play() {
  const about = await (await fetch("/api/v1")).json();
  $("name").textContent = about.name || "livestream";
  $("link").value = about.link;
  if (!about.mime) throw new Error("not on the air yet");
  const media = new Source();
  video.disableRemotePlayback = true;
  video.src = URL.createObjectURL(media);
  await new Promise((done) => media.addEventListener("sourceopen", done, { once: true }));
  const buffer = media.addSourceBuffer(about.mime);
  const response = await fetch(`/c/${about.channel}/live.mp4`);
  const reader = response.body.getReader();
  video.play().catch(() => {});
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    await append(buffer, value);
    trim(buffer);
  }
}

function append(buffer, data) {
  return new Promise((done, fail) => {
    buffer.addEventListener("updateend", done, { once: true });
    buffer.addEventListener("error", fail, { once: true });
    buffer.appendBuffer(data);
  });
}

function trim(buffer) {
  const ranges = video.buffered;
  if (ranges.length && video.currentTime - ranges.start(0) > 30 && !buffer.updating) {
    buffer.remove(0, video.currentTime - 10);
  }
}

function ahead() {
  const ranges = video.buffered;
  return ranges.length ? ranges.end(ranges.length - 1) - video.currentTime : 0;
}

function follow() {
  const ranges = video.buffered;
  if (!ranges.length) return;
  const start = ranges.start(ranges.length - 1);
  if (video.currentTime < start) video.currentTime = start;
  const extra = ahead();
  if (extra > 3) video.currentTime = ranges.end(ranges.length - 1) - target;
  video.playbackRate = extra > target + 0.4 ? 1.05 : 1;
}

async function keepPlaying() {
  for (let wait = 300; ; wait = Math.min(wait * 1.5, 4000)) {
    const began = Date.now();
    try {
      await play();
    } catch (error) {
      $("badge").textContent = "waiting";
    }
    if (Date.now() - began > 5000) wait = 300;
    await new Promise((done) => setTimeout(done, wait));
  }
}

// The test picture's clock: 48 columns in the lowest twelfth, 1010, 32 bits, checksum, 0101.
const eye = document.createElement("canvas");
eye.width = 480;
eye.height = 1;
const sight = eye.getContext("2d", { willReadFrequently: true });
function readClock() {
  const { videoWidth: width, videoHeight: height } = video;
  if (!width) return null;
  sight.drawImage(video, 0, height - height / 24, width, 1, 0, 0, 480, 1);
  const pixels = sight.getImageData(0, 0, 480, 1).data;
  const bits = [];
  for (let column = 0; column < 48; column++) {
    const at = 4 * (column * 10 + 5);
    bits.push(0.299 * pixels[at] + 0.587 * pixels[at + 1] + 0.114 * pixels[at + 2] > 128 ? 1 : 0);
  }
  const number = (from, count) => bits.slice(from, from + count).reduce((sum, bit) => sum * 2 + bit, 0);
  let sum = 0;
  for (let byte = 0; byte < 4; byte++) sum += number(4 + 8 * byte, 8);
  if (number(0, 4) !== 10 || number(44, 4) !== 5 || number(36, 8) !== sum % 256) return null;
  return number(4, 32);
}
function glassToGlass() {
  const clock = readClock();
  return clock === null ? null : ((Date.now() % 4294967296) - clock + 4294967296) % 4294967296;
}
window.livestream = { readClock: glassToGlass };

const rate = (bps) => `${(bps / 1e6).toFixed(2)} Mbit/s`;
function show({ stats, peers }) {
  engineLag = stats.lag_s;
  $("badge").textContent = stats.why ? "stalled" : `LIVE ${(engineLag + ahead()).toFixed(1)} s`;
  $("badge").classList.toggle("stalled", Boolean(stats.why));
  $("why").hidden = !stats.why;
  $("why").textContent = stats.why;
  $("lag").textContent = `${(engineLag + ahead()).toFixed(2)} s`;
  $("down").textContent = rate(stats.down_bps);
  $("up").textContent = rate(stats.up_bps);
  $("count").textContent = stats.peers;
  $("late").textContent = `${((100 * stats.pieces_late) / Math.max(1, stats.pieces_received)).toFixed(2)} %`;
  $("share").textContent = `${(100 * stats.publisher_share).toFixed(0)} %`;
  const glass = glassToGlass();
  $("glass-row").hidden = glass === null;
  if (glass !== null) $("glass").textContent = `${(glass / 1000).toFixed(2)} s`;
  $("peers").replaceChildren(...peers.map((peer) => {
    const row = document.createElement("tr");
    for (const text of [peer.address, `${peer.rtt_ms} ms`, rate(peer.down_bps), rate(peer.up_bps), peer.roles]) {
      row.insertCell().textContent = text;
    }
    return row;
  }));
  history.push([stats.down_bps, stats.up_bps]);
  if (history.length > 120) history.shift();
  draw();
}

function draw() {
  const canvas = $("graph");
  canvas.width = canvas.clientWidth;
  const context = canvas.getContext("2d");
  const top = Math.max(1, ...history.flat());
  ["#37a2c5", "#c58a37"].forEach((colour, series) => {
    context.strokeStyle = colour;
    context.lineWidth = 2;
    context.beginPath();
    history.forEach((point, index) => {
      const x = (index / 119) * canvas.width;
      const y = 76 - (72 * point[series]) / top;
      if (index) context.lineTo(x, y); else context.moveTo(x, y);
    });
    context.stroke();
  });
}

$("unmute").addEventListener("click", () => {
  video.muted = !video.muted;
  $("unmute").textContent = video.muted ? "Unmute" : "Mute";
});
$("copy").addEventListener("click", () => { $("link").select(); navigator.clipboard?.writeText($("link").value); });
$("target").addEventListener("input", () => { $("target-value").textContent = `${(+$("target").value).toFixed(1)} s`; });
$("target").addEventListener("change", () => fetch("/api/v1/latency", {
  method: "POST",
  headers: { "Content-Type": "application/json", "X-Livestream": "1" },
  body: JSON.stringify({ seconds: +$("target").value }),
}));
video.addEventListener("waiting", () => { target = Math.min(0.6, target + 0.05); });
setInterval(follow, 250);
new EventSource("/api/v1/events").onmessage = (event) => show(JSON.parse(event.data));
keepPlaying();
