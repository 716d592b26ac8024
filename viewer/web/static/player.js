// Feeds MediaSource from live.mp4, stays near the live edge, and lets people look back a minute.
const Source = self.ManagedMediaSource || self.MediaSource;
export const KEPT_S = 60; // How far one can look back.
const BUFFER_MIN_S = 0.12; // Held here against jitter; the engine's own buffer does the rest.
const BUFFER_MAX_S = 0.6;
const JUMP_S = 1.5; // Further than this behind the live edge: jump there, do not hurry.
const HURRY = 1.05; // Nobody hears that.
const WATCHED_TICKS = 15; // The least buffered during so many ticks is what can be spared.
const TICK_MS = 100;
const WAIT_MS = 250; // From one attempt to the next; longer while they fail at once.
const WAIT_MS_MAX = 3000;
const GAP_S = 0.1; // So near to the end of what is buffered, the picture stands.
const SEEK_MS = 1000; // A seek that takes longer waits for pictures that were lost, if newer ones are here.

export class LivePlayer {
  constructor(video) {
    this.video = video;
    this.isFollowing = true; // Of the live edge; else somebody looks back, or paused.
    this.isPaused = false;
    this.isBlocked = false; // The browser wants a click first.
    this.problem = ""; // Why this browser will never show it.
    this.about = null;
    this.buffer = null;
    this.cushion = BUFFER_MIN_S;
    this.lows = [];
    this.hasStarted = false;
    this.stoodAt = NaN;
    this.soughtAt = NaN;
    video.addEventListener("seeking", () => { this.soughtAt = performance.now(); });
    video.addEventListener("waiting", () => { if (this.#isSteady()) this.stoodAt = performance.now(); });
    video.addEventListener("playing", () => this.#onPlaying());
    setInterval(() => this.#tick(), TICK_MS);
  }

  // Play, and begin again after every end: a publisher that comes back has a new stream.
  async run() {
    for (let wait = WAIT_MS; ; wait = Math.min(wait * 1.5, WAIT_MS_MAX)) {
      const began = performance.now();
      try {
        await this.#play();
      } catch (error) {
        this.lastError = error; // Shown to those who look for it; the page says why it stands.
      }
      // What cannot be decoded would otherwise be fetched again and again.
      if (performance.now() - began > WAIT_MS_MAX || !this.about?.mime) wait = WAIT_MS;
      await new Promise((done) => setTimeout(done, wait));
    }
  }

  // Seconds buffered in front of the picture.
  ahead() {
    const ranges = this.video.buffered;
    return ranges.length ? Math.max(0, ranges.end(ranges.length - 1) - this.video.currentTime) : 0;
  }

  // Seconds that one can look back from the live edge.
  depth() {
    const ranges = this.video.buffered;
    return ranges.length ? ranges.end(ranges.length - 1) - ranges.start(0) : 0;
  }

  togglePause() {
    this.isPaused = !this.isPaused;
    this.isFollowing = false;
    if (this.isPaused) this.video.pause();
    else this.start();
  }

  jumpToLive() {
    this.isFollowing = true;
    this.isPaused = false;
    this.hasStarted = false;
    this.start();
  }

  // Look back; to within a second of the live edge means to follow it again.
  seekBehind(seconds) {
    if (seconds < 1) return this.jumpToLive();
    const ranges = this.video.buffered;
    if (!ranges.length) return undefined;
    this.isFollowing = false;
    this.video.playbackRate = 1;
    this.video.currentTime = Math.max(ranges.start(0), ranges.end(ranges.length - 1) - seconds);
    return undefined;
  }

  start() {
    this.video.play().then(
      () => { this.isBlocked = false; },
      (error) => { this.isBlocked = error.name === "NotAllowedError"; },
    );
  }

  async #play() {
    const answer = await fetch("/api/v1");
    if (!answer.ok) throw new Error(`the page's server answered ${answer.status}`);
    this.about = await answer.json();
    this.problem = this.about.problem;
    if (!this.about.mime) return;
    if (!Source?.isTypeSupported(this.about.mime)) {
      this.problem = `This browser cannot show ${this.about.mime}. Watch with a player instead.`;
      return;
    }
    const leaving = new AbortController();
    const url = await this.#open();
    try {
      const path = `/c/${this.about.channel}/live.mp4`;
      const response = await fetch(path, { signal: leaving.signal });
      if (!response.ok) return;
      if (!this.isPaused) this.start();
      const reader = response.body.getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        await this.#append(part.value);
        await this.#trim();
      }
    } finally {
      leaving.abort();
      URL.revokeObjectURL(url);
    }
  }

  async #open() {
    const media = new Source();
    const url = URL.createObjectURL(media);
    this.video.disableRemotePlayback = true;
    this.hasStarted = false;
    const opened = new Promise((done) => media.addEventListener("sourceopen", done, { once: true }));
    this.video.src = url;
    await opened;
    this.buffer = media.addSourceBuffer(this.about.mime);
    media.duration = Infinity;
    return url;
  }

  async #append(data) {
    try {
      this.buffer.appendBuffer(data);
    } catch (error) {
      if (error.name !== "QuotaExceededError") throw error;
      const ranges = this.video.buffered;
      await this.#remove((ranges.start(0) + ranges.end(ranges.length - 1)) / 2);
      this.buffer.appendBuffer(data);
    }
    await this.#settle();
  }

  async #trim() {
    const ranges = this.video.buffered;
    const oldest = ranges.length ? ranges.end(ranges.length - 1) - KEPT_S : 0;
    // Not at every frame; browsers remove whole groups of pictures.
    if (ranges.length && oldest - ranges.start(0) > 10) await this.#remove(oldest);
  }

  async #remove(until) {
    if (until <= 0) return;
    this.buffer.remove(0, until);
    await this.#settle();
  }

  #settle() {
    const { buffer } = this;
    return new Promise((done, fail) => {
      const finish = (event) => {
        buffer.removeEventListener("updateend", finish);
        buffer.removeEventListener("error", finish);
        if (event.type === "error") fail(new Error("the browser refused the stream"));
        else done();
      };
      buffer.addEventListener("updateend", finish);
      buffer.addEventListener("error", finish);
    });
  }

  #tick() {
    const { video } = this;
    const ranges = video.buffered;
    if (!ranges.length) return;
    if (video.seeking) {
      this.#leaveLostSeek(ranges);
      return;
    }
    const edge = ranges.end(ranges.length - 1);
    if (!this.hasStarted) {
      this.hasStarted = true;
      this.lows = [];
      if (this.isFollowing) this.#seek(Math.max(ranges.start(0), edge - this.cushion - 0.1));
      return;
    }
    if (this.#leaveGap(ranges)) return;
    if (this.isFollowing) this.#follow(edge);
  }

  #isSteady() {
    return this.isFollowing && this.hasStarted && !this.video.seeking;
  }

  // Over what was lost, to where the picture goes on.
  #leaveGap(ranges) {
    const now = this.video.currentTime;
    for (let index = 0; index < ranges.length; index++) {
      if (now < ranges.start(index)) {
        this.#seek(ranges.start(index) + 0.001);
        return true;
      }
      if (now < ranges.end(index) - GAP_S) return false;
    }
    return false;
  }

  // Browsers wait for the pictures after the one that is sought, and for ever if those were lost.
  #leaveLostSeek(ranges) {
    if (performance.now() - this.soughtAt < SEEK_MS) return;
    for (let index = 0; index < ranges.length; index++) {
      if (this.video.currentTime < ranges.start(index)) {
        this.#seek(ranges.start(index) + 0.001);
        return;
      }
    }
  }

  #follow(edge) {
    const { video } = this;
    const ahead = edge - video.currentTime;
    this.lows.push(ahead);
    if (this.lows.length > WATCHED_TICKS) this.lows.shift();
    if (ahead > this.cushion + JUMP_S) {
      this.#seek(edge - this.cushion);
      return;
    }
    const spare = Math.min(...this.lows) - this.cushion;
    const isHurrying = video.playbackRate > 1;
    video.playbackRate = spare > (isHurrying ? 0.03 : 0.12) ? HURRY : 1;
  }

  #seek(time) {
    this.lows = [];
    this.video.currentTime = time;
  }

  // The picture stood for want of data: hold a little more, if that little would have done; less
  // again after a quiet minute.
  #onPlaying() {
    const stoodFor = performance.now() - this.stoodAt;
    this.stoodAt = NaN;
    if (!(stoodFor < BUFFER_MAX_S * 1000)) return;
    this.cushion = Math.min(BUFFER_MAX_S, this.cushion + 0.08);
    clearTimeout(this.calm);
    this.calm = setTimeout(() => { this.cushion = BUFFER_MIN_S; }, 60_000);
  }
}
