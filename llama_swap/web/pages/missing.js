// What an address shows that means nothing.

import { fill } from "./dom.js";

export const open = (place) => fill(place, "page-missing");
