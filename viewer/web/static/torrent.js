// Plays the files of a torrent while they come in; the server sends what is played first.

const element = (id) => document.getElementById(id);
const video = element("video");
const rate = (bps) => `${(bps / 1e6).toFixed(1)} Mbit/s`;

function play(torrent, file) {
  video.src = `/t/${torrent.info_hash}/stream/${file.number}`;
  element("name").textContent = file.path;
  document.title = file.path;
}

function list(torrents) {
  for (const torrent of torrents) {
    for (const file of torrent.files) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `${file.path} (${(file.length / 1e6).toFixed(1)} MB)`;
      button.addEventListener("click", () => play(torrent, file));
      const item = document.createElement("li");
      item.append(button);
      element("files").append(item);
    }
  }
}

const { torrents } = await (await fetch("/api/v1")).json();
list(torrents);
const [first] = torrents;
if (first) play(first, first.files.find((file) => file.number === first.main_file));

const events = new EventSource("/api/v1/events");
events.addEventListener("message", (event) => {
  const { stats } = JSON.parse(event.data);
  const share = (100 * stats.pieces_held) / Math.max(stats.pieces, 1);
  element("down").textContent = rate(stats.down_bps);
  element("up").textContent = rate(stats.up_bps);
  element("count").textContent = stats.peers;
  element("here").textContent = `${share.toFixed(1)} %`;
  element("badge").dataset.state = "live";
  element("badge-text").textContent = share < 100 ? "downloading" : "complete";
});
events.addEventListener("error", () => {
  element("badge").dataset.state = "wait";
  element("badge-text").textContent = "disconnected";
});
