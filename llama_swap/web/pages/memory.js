// What a browser remembers of a user's choices; one that keeps nothing asks anew.

export function recall(name) {
  try {
    return localStorage.getItem(`llama-swap-${name}`);
  } catch {
    return null;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(`llama-swap-${name}`, value);
  } catch {
    // Then not.
  }
}
