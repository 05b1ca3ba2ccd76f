// The list of conversations.

import {$, button, element} from "./dom.js";

/** Shows {id, title} of each in #conversations, the current one marked. `choose(id)` opens one. */
export function showConversations(list, currentId, choose) {
  $("conversations").replaceChildren(...list.map(({id, title}) => element("li", {},
      button(title || "New chat", () => choose(id),
          {title: title || "New chat", "aria-current": id === currentId && "true"}))));
  $("no-conversations").hidden = list.length > 0;
}

// Panels beside the chat: below these widths they lie over it, and begin closed.
const PANELS = [
  {panel: "chats", toggle: "toggle-chats", isBeside: matchMedia("(min-width: 48rem)")},
  {panel: "machine", toggle: "toggle-machine", isBeside: matchMedia("(min-width: 70rem)")},
];

function setOpen({panel, toggle}, isOpen) {
  $(panel).hidden = !isOpen;
  $(toggle).setAttribute("aria-expanded", String(isOpen));
}

/** Closes the panels that lie over the chat. True: there was one. */
export function closeDrawers() {
  const open = PANELS.filter(({panel, isBeside}) => !isBeside.matches && !$(panel).hidden);
  for (const each of open) {
    setOpen(each, false);
    $(each.toggle).focus();
  }
  return open.length > 0;
}

export function setUpPanels() {
  for (const each of PANELS) {
    setOpen(each, each.isBeside.matches);
    each.isBeside.addEventListener("change", () => setOpen(each, each.isBeside.matches));
    $(each.toggle).addEventListener("click", () => {
      const isOpening = $(each.panel).hidden;
      if (isOpening && !each.isBeside.matches) closeDrawers();
      setOpen(each, isOpening);
    });
  }
}
