"""What a token of a long answer costs the web page: milliseconds of its thread's CPU time, by the answer's length and kind.

Tokens come at 100 a second of a clock that counts no waiting; the page renders as it does for a reader, layout included.
usage: FLASHMOE_PROGRAM=build/release/flash-moe .venv-clients/bin/python tests/server/web_page_bench.py [TOKENS]
"""

import shutil
import sys

from playwright.sync_api import sync_playwright

from serving import Server

PART = 1000
PIECES = {
    "paragraphs": "Some *words* of a `paragraph` go on and on.\n\n",
    "code": "    const value = compute(index, 17);  // a comment\n",
    "one list": "- an item of **one** list\n",
    "one line": "word after word ",
}

BEGIN = """async ([piece, text]) => {
    const {MarkdownView} = await import("/web/markdown.js");
    const view = new MarkdownView();
    document.getElementById("message-list").replaceChildren(view.node);
    window.bench = {view, text, words: piece.match(/\\s*\\S+|\\s+$/g), clock: 0, frame: null, pause: null, next: 0};
    const later = window.setTimeout.bind(window);
    // Frames and pauses by a clock of its own.
    window.requestAnimationFrame = (run) => { bench.frame = run; };
    window.setTimeout = (run, delay) => {
        // The look at the machine, once a second, is not the answer's.
        if (delay >= 1000 && run.name === "look") return later(run, delay);
        bench.pause = {run, due: bench.clock + delay};
    };
}"""

TOKENS_COME = """(count) => {
    const take = (name) => {
        const run = bench[name];
        bench[name] = null;
        return run;
    };
    for (let i = 0; i < count; ++i) {
        bench.text += bench.words[bench.next++ % bench.words.length];
        bench.clock += 10;
        if (bench.pause?.due <= bench.clock) take("pause").run();
        bench.view.update(bench.text);
        if (!bench.frame) continue;
        take("frame")();
        void bench.view.node.offsetHeight;
    }
}"""

# What is on the page must have kept up, or the figures are of nothing.
SHOWN = "() => bench.view.node.textContent.length / bench.text.length"
END = "() => { bench.view.finish(bench.text); void bench.view.node.offsetHeight; }"


def main():
    tokens = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
    server = Server("--memory", "80MB")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        print(f"ms for a token   first {PART}   last {PART}   all at the end")
        for name, piece in PIECES.items():
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(server.url + "/")
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable")

            def thread_ms(script, *given):
                def now():
                    metrics = session.send("Performance.getMetrics")["metrics"]
                    return 1000 * next(each["value"] for each in metrics if each["name"] == "ThreadTime")
                begun = now()
                page.evaluate(script, *given)
                return now() - begun

            thread_ms(BEGIN, [piece, "```js\n" if name == "code" else ""])
            parts = [thread_ms(TOKENS_COME, PART) / PART for _ in range(tokens // PART)]
            assert page.evaluate(SHOWN) > 0.7, f"{name}: the page did not keep up"
            print(f"{name:14} {parts[0]:12.2f} {parts[-1]:11.2f} {thread_ms(END):16.1f}", flush=True)
            page.close()
        browser.close()
    server.stop()


if __name__ == "__main__":
    main()
