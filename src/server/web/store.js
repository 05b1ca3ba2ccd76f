// Keeps conversations in this browser: IndexedDB, or the page's memory where that is not to be had.

const NAME = "flash-moe";
const VERSION = 1;

/** The outcome of an IDBRequest or of an IDBTransaction. */
function outcome(of) {
  return new Promise((resolve, reject) => {
    of.onsuccess = of.oncomplete = () => resolve(of.result);
    of.onerror = of.onabort = () => reject(of.error ?? new Error("the browser's storage failed"));
  });
}

function inWords(failure) {
  if (failure.name === "QuotaExceededError") {
    return "This browser's storage is full. What is said now is lost with this page: " +
        "export it, or delete other conversations.";
  }
  return `This browser does not keep this conversation (${failure.message}). Export it before you leave.`;
}

/**
 * Conversations by id. What cannot be written stays in memory until the page closes, and `onTrouble`
 * is told of it in words. `onChange` is called when another window has written.
 */
export class Store {
  #database = null;
  #unsaved = new Map();
  #onTrouble;
  #channel = new BroadcastChannel(NAME);

  constructor(onTrouble, onChange) {
    this.#onTrouble = onTrouble;
    this.#channel.onmessage = ({data}) => onChange(data);
  }

  async open() {
    try {
      const request = indexedDB.open(NAME, VERSION);
      request.onupgradeneeded = () => {
        // The list of conversations is read often, what was said in them seldom.
        request.result.createObjectStore("titles", {keyPath: "id"});
        request.result.createObjectStore("conversations", {keyPath: "id"});
      };
      this.#database = await outcome(request);
    } catch (failure) {
      this.#onTrouble(inWords(failure));
    }
  }

  /** {id, title, changed} of each, the latest first. */
  async list() {
    const kept = this.#database ? await outcome(this.#read("titles").getAll()) : [];
    const all = new Map(kept.map((entry) => [entry.id, entry]));
    for (const [id, {title, changed}] of this.#unsaved) all.set(id, {id, title, changed});
    return [...all.values()].sort((a, b) => b.changed - a.changed);
  }

  async get(id) {
    if (this.#unsaved.has(id)) return this.#unsaved.get(id);
    return this.#database ? outcome(this.#read("conversations").get(id)) : undefined;
  }

  async put(conversation) {
    const {id, title, changed} = conversation;
    const isKept = await this.#write((titles, conversations) => {
      titles.put({id, title, changed});
      conversations.put(conversation);
    });
    if (isKept) this.#unsaved.delete(id);
    else this.#unsaved.set(id, conversation);
    this.#channel.postMessage(id);
  }

  async delete(id) {
    this.#unsaved.delete(id);
    await this.#write((titles, conversations) => {
      titles.delete(id);
      conversations.delete(id);
    });
    this.#channel.postMessage(id);
  }

  #read(name) {
    return this.#database.transaction(name).objectStore(name);
  }

  /** Whether it is written. */
  async #write(change) {
    if (!this.#database) return false;
    try {
      const transaction = this.#database.transaction(["titles", "conversations"], "readwrite");
      const done = outcome(transaction);
      change(transaction.objectStore("titles"), transaction.objectStore("conversations"));
      await done;
      return true;
    } catch (failure) {
      this.#onTrouble(inWords(failure));
      return false;
    }
  }
}
