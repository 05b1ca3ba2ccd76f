// Small helpers that every other file uses.

export const $ = (id) => document.getElementById(id);

/**
 * A new element: element("a", {class: "x", href: "y", onclick: f}, "text", node). A property that is
 * false or undefined is left out. Text becomes text, never HTML.
 */
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** A button that does nothing but call `action`. */
export function button(label, action, properties = {}) {
  return element("button", {type: "button", onclick: action, ...properties}, label);
}

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

/** Bytes as people write them: "63.2 MiB". */
export function size(bytes) {
  let unit = 0;
  while (bytes >= 1024 && unit + 1 < UNITS.length) {
    bytes /= 1024;
    ++unit;
  }
  return unit === 0 ? `${Math.round(bytes)} bytes` : `${bytes.toFixed(bytes < 10 ? 2 : 1)} ${UNITS[unit]}`;
}

/** Copies to the clipboard, also where the page came over plain HTTP from another machine. */
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = element("textarea", {class: "offstage"});
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/** A button that copies what `text` returns, and says so for a moment. */
export function copyButton(text) {
  const node = button("Copy", async () => {
    await copy(text());
    node.textContent = "Copied";
    setTimeout(() => { node.textContent = "Copy"; }, 1500);
  });
  return node;
}

let noticeTimer = 0;

/** Says something at the top of the page, with an action to offer if there is one: {label, run}. */
export function notice(text, action) {
  clearTimeout(noticeTimer);
  const close = () => { $("notice").hidden = true; };
  const buttons = action ? [button(action.label, () => { close(); action.run(); })] : [];
  $("notice").replaceChildren(element("span", {}, text), ...buttons,
      button("×", close, {class: "plain", "aria-label": "Close"}));
  $("notice").hidden = false;
  if (action) noticeTimer = setTimeout(close, 10000);
}
