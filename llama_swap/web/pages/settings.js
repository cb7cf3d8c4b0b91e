// How this browser shows things, and which llama-swap it is that shows them.

import { ask, ROOT } from "./api.js";
import { fact, fill } from "./dom.js";
import { connection, listen, now } from "./live.js";
import * as theme from "./theme.js";

export function open(place) {
  fill(place, "page-settings");
  const unoffer = theme.offer(place.querySelector("#colours"));
  const about = place.querySelector("#about");
  let told = {};

  function show() {
    const facts = [
      ["Version", told.version],
      ["Commit", told.commit],
      ["Built", told.build_date],
      ["Address", ROOT.href],
      ["Events", connection()],
      ["Sessions are told by", now.sessionHeaders.join(", ") || "nothing"],
    ];
    about.replaceChildren(...facts.flatMap(fact));
  }

  async function askVersion() {
    try {
      told = await ask("api/version");
      show();
    } catch {
      // The connection is lost, which is said already.
    }
  }

  show();
  askVersion();
  const unlisten = listen((kinds) => {
    if (kinds.has("connection") || kinds.has("settings")) show();
    if (kinds.has("connection") && now.connection === "live") askVersion(); // it may be another one
  });
  return () => {
    unoffer();
    unlisten();
  };
}
