// The player of one recording. The page says where its casts are; a moment is `#channel@seconds`,
// so that a chapter is a link and a link to a moment can be passed on.

const place = document.querySelector("[data-player]");
const options = document.querySelector("[data-player-options]");
let player;

function moment() {
  const [channel, seconds] = decodeURIComponent(location.hash.slice(1)).split("@");
  return { channel, seconds: Number(seconds) || 0 };
}

/** Shows the chosen channel from `seconds` on, at the chosen speed. */
function show(seconds, play) {
  player?.dispose();
  const chosen = new FormData(options);
  player = window.AsciinemaPlayer.create(`${place.dataset.player}/channel-${chosen.get("channel")}.cast`, place, {
    speed: Number(chosen.get("speed")),
    idleTimeLimit: chosen.get("idle") ? 2 : undefined,
    startAt: seconds,
    autoPlay: play,
    fit: "width",
    controls: true,
  });
}

function jump() {
  const { channel, seconds } = moment();
  if (channel) options.elements.channel.value = channel;
  show(seconds, Boolean(location.hash));
  place.scrollIntoView({ block: "nearest" });
}

if (place && options) {
  options.addEventListener("submit", (event) => event.preventDefault());
  options.addEventListener("change", async (event) => {
    const here = event.target.name === "channel" ? 0 : await player.getCurrentTime();
    show(here, true);
  });
  addEventListener("hashchange", jump);
  jump();
}
