// The choice of the active profile, where there are any.

import { ask, tell } from "./api.js";
import { make } from "./dom.js";
import { complain } from "./notice.js";

/** Keep a <select>, and the label around it, as the proxy has it. */
export function showProfiles(label, select) {
  let asking = false;
  let again = false;

  async function update() {
    if (asking) {
      again = true;
      return;
    }
    asking = true;
    try {
      show(await ask("api/profiles"));
    } catch {
      label.hidden = true; // the connection is lost, which is said elsewhere
    }
    asking = false;
    if (again) {
      again = false;
      await update();
    }
  }

  function show({ active, profiles }) {
    label.hidden = !profiles.length;
    const options = profiles.map(({ id, description }) => make("option", { value: `=${id}`, title: description }, id));
    select.replaceChildren(make("option", { value: "" }, "none"), ...options);
    select.value = active === null ? "" : `=${active}`;
  }

  select.addEventListener("change", async () => {
    const name = select.value ? select.value.slice(1) : null;
    try {
      await tell("api/profiles/active", "PUT", { name });
    } catch (error) {
      complain(`The profile was not made active: ${error.message}`);
      await update();
    }
  });
  return { update };
}
