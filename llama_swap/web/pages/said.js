// What a model says in the events of a stream.  Pure.

import { parsed } from "./sse.js";

/** Return {content, reasoning} of an event, as the APIs of OpenAI (chats, completions, responses) and Anthropic have it. */
export function saidIn({ type = "", choices, delta }) {
  if (typeof delta === "string") return { content: type.endsWith("output_text.delta") ? delta : "", reasoning: "" };
  const said = choices?.[0]?.delta ?? delta ?? {};
  return {
    content: plain(said.content) ?? said.text ?? choices?.[0]?.text ?? "",
    reasoning: said.reasoning_content ?? said.reasoning ?? said.thinking ?? "",
  };
}

/** Return the text of a list of parts, as Mistral's models have it, and anything else as it is. */
function plain(content) {
  return Array.isArray(content) ? content.map((part) => part?.text ?? "").join("") : content;
}

/** Return the same of a whole stream; what is no event of such an API says nothing. */
export function allSaidIn(text) {
  const all = { content: "", reasoning: "" };
  for (const event of text.split(/\r?\n\r?\n/)) {
    try {
      const { content, reasoning } = saidIn(JSON.parse(parsed(event).data));
      all.content += content;
      all.reasoning += reasoning;
    } catch {
      // [DONE], for example.
    }
  }
  return all;
}
