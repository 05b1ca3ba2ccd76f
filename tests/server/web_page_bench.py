"""What a token of a long answer costs the web page: milliseconds of its thread, by the answer's length and kind.

Tokens come at 100 a second of a clock that counts no waiting; the page renders as it does for a reader, layout included.
usage: FLASHMOE_PROGRAM=build/release/flash-moe .venv-clients/bin/python tests/server/web_page_bench.py [TOKENS]
"""

import shutil
import sys

from playwright.sync_api import sync_playwright

from serving import Server

PIECES = {
    "paragraphs": "Some *words* of a `paragraph` go on and on.\n\n",
    "code": "    const value = compute(index, 17);  // a comment\n",
    "one list": "- an item of **one** list\n",
    "one line": "word after word ",
}

MEASURE = """async ([piece, opening, tokens]) => {
    const {MarkdownView} = await import("/web/markdown.js");
    const view = new MarkdownView();
    document.getElementById("message-list").replaceChildren(view.node);
    const words = piece.match(/\\s*\\S+|\\s+$/g);
    // Frames and pauses by a clock of its own.
    let clock = 0, frame = null, pause = null;
    const {requestAnimationFrame, setTimeout} = window;
    window.requestAnimationFrame = (run) => { frame = run; };
    window.setTimeout = (run, delay) => { pause = {run, due: clock + delay}; };
    let text = opening;
    const spent = [];
    for (let i = 0; i < tokens; ++i) {
        text += words[i % words.length];
        clock += 10;
        if (pause && pause.due <= clock) {
            const {run} = pause;
            pause = null;
            run();
        }
        view.update(text);
        const begun = performance.now();
        if (frame) {
            const run = frame;
            frame = null;
            run();
            void view.node.offsetHeight;
        }
        spent.push(performance.now() - begun);
    }
    Object.assign(window, {requestAnimationFrame, setTimeout});
    const begun = performance.now();
    view.finish(text);
    void view.node.offsetHeight;
    const mean = (list) => list.reduce((sum, each) => sum + each, 0) / list.length;
    return [mean(spent.slice(0, 1000)), mean(spent.slice(-1000)), Math.max(...spent), performance.now() - begun];
}"""


def main():
    tokens = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
    server = Server("--memory", "80MB")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(server.url + "/")
        print("ms for a token    first 1,000   last 1,000   longest   at the end")
        for name, piece in PIECES.items():
            opening = "```js\n" if name == "code" else ""
            first, last, longest, end = page.evaluate(MEASURE, [piece, opening, tokens])
            print(f"{name:16} {first:12.2f} {last:12.2f} {longest:9.1f} {end:12.1f}", flush=True)
        browser.close()
    server.stop()


if __name__ == "__main__":
    main()
