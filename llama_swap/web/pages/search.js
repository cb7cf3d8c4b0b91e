// What stands in the search box: plain text in any case, or /regex/ with its flags.

const REGEX = /^\/(.+)\/([imsu]*)$/;
const MOST_RANGES = 200; // in one line; more highlights help nobody

export const NOTHING = Object.freeze({ active: false, error: "", test: () => true, ranges: () => [] });

/** Compile a query to {active, error, test(text), ranges(text)}; with an error, it matches nothing special. */
export function compile(query) {
  if (!query) return NOTHING;
  const regex = REGEX.exec(query);
  let pattern;
  try {
    pattern = regex ? new RegExp(regex[1], regex[2]) : new RegExp(escape(query), "i");
  } catch (error) {
    return { ...NOTHING, error: error.message };
  }
  return {
    active: true,
    error: "",
    test: (text) => pattern.test(text),
    ranges(text) {
      const found = [];
      for (const match of text.matchAll(new RegExp(pattern, `${pattern.flags}g`))) {
        if (match[0]) found.push([match.index, match.index + match[0].length]);
        if (found.length === MOST_RANGES) break;
      }
      return found;
    },
  };
}

function escape(text) {
  return text.replace(/[\\^$.*+?()[\]{}|\/-]/g, "\\$&");
}
