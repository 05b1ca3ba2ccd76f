// Settings of the current conversation, the API key, and the colours of the page.

import {$} from "./dom.js";
import {NO_SETTINGS, parseTools} from "./conversation.js";

const NAMES = Object.keys(NO_SETTINGS);
const THEMES = {"": "as the system", light: "light", dark: "dark"};

/** Puts settings into the dialog. */
export function showSettings(settings) {
  for (const name of NAMES) {
    if (name === "alternatives") $(name).checked = settings[name];
    else $(name).value = settings[name];
  }
  checkTools();
}

function checkTools() {
  try {
    parseTools($("tools").value);
    $("tools-error").textContent = "";
  } catch (failure) {
    $("tools-error").textContent = failure.message;
  }
  $("tools").setAttribute("aria-invalid", String($("tools-error").textContent !== ""));
}

function setUpTheme() {
  const root = document.documentElement;
  const names = Object.keys(THEMES);
  const show = () => {
    const label = `Colours: ${THEMES[root.dataset.theme ?? ""]}`;
    $("theme").title = label;
    $("theme").setAttribute("aria-label", label);
  };
  $("theme").addEventListener("click", () => {
    const next = names[(names.indexOf(root.dataset.theme ?? "") + 1) % names.length];
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    try {
      localStorage.setItem("theme", next);
    } catch {
      // It holds until the page closes.
    }
    show();
  });
  show();
}

/** `onChange(settings)` is called with what has been typed. */
export function setUpSettings(onChange) {
  for (const name of NAMES) {
    $(name).addEventListener("change", () => {
      if (name === "tools") checkTools();
      onChange(Object.fromEntries(NAMES.map((each) =>
        [each, each === "alternatives" ? $(each).checked : $(each).value])));
    });
  }
  $("tools").addEventListener("input", checkTools);
  $("open-settings").addEventListener("click", () => $("settings").showModal());
  $("close-settings").addEventListener("click", () => $("settings").close());
  $("settings-form").addEventListener("submit", (event) => {
    event.preventDefault();
    $("settings").close();
  });
  // A click beside the dialog is one on the dialog itself, not on what is in it.
  $("settings").addEventListener("click", (event) => {
    if (event.target === $("settings")) $("settings").close();
  });
  // A key is as long-lived as the window.
  $("key").value = sessionStorage.getItem("key") ?? "";
  $("key").addEventListener("change", () => sessionStorage.setItem("key", $("key").value));
  setUpTheme();
}
