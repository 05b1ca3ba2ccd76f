"""The web page in a real browser: Chromium, without a window. FLASHMOE_SCREENSHOTS names a folder to keep pictures in.

Most answers here are made up, so that each test knows what the model says; the conversation with a tool and the machine
at work are the server's own.
"""

import json
import os
import pathlib
import re
import shutil
import sys
import unittest

from playwright.sync_api import sync_playwright

from serving import TOOLS, Server

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# What libraries.js is in a build that found none.
NO_LIBRARIES = {"status": 200, "content_type": "text/javascript", "body": ""}
WIDTHS = (360, 800, 1440)

MARKDOWN = """# Heading

Some **bold** text and `code`, a [link](https://example.org/) and
- one
- two

| a | b |
|---|--:|
| 1 | 2 |

```python
def f(x):
\treturn "text"  # comment
```

Bye.
"""

HOSTILE = """<script>window.hacked = 1</script>
<img src=x onerror="window.hacked = 2"> <svg onload="window.hacked = 3"></svg>
<iframe srcdoc="<script>parent.hacked = 4</script>"></iframe>

[a](javascript:window.hacked=5) [b](JaVaScRiPt&#58;window.hacked=6) <javascript:window.hacked=7>
[c](data:text/html,<script>window.hacked=8</script>) [d]( vbscript:x "title" onclick=\\"window.hacked=9\\")
![e](http://127.0.0.1:1/picture.png) ![f](x" onerror="window.hacked=10)

[g]: javascript:window.hacked=11
[g]

| <b onmouseover="window.hacked=12">x</b> |
|---|
| `<script>` |

<kbd>a <img/src=x/onerror=window.hacked=13 </kbd>
<style>body { display: none }</style>

```"><img src=x onerror=window.hacked=14>
</code></pre><script>window.hacked = 15</script>
"""


def chunk(delta, finish=None, logprobs=None):
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish,
                         "logprobs": {"content": logprobs} if logprobs else None}]}


def token(text, *others):
    def entry(each):
        return {"token": each, "bytes": list(each.encode()), "logprob": -0.2 if each == text else -3.0}
    return {**entry(text), "top_logprobs": [entry(text), *map(entry, others)]}


def answer(text="", reasoning="", pieces=None, calls=(), failure=None):
    """The body of a streamed answer: `text` whole, or token by token in `pieces`."""
    events = [chunk({"role": "assistant", "content": ""})]
    if reasoning:
        events.append(chunk({"reasoning_content": reasoning}))
    for piece in pieces or ([text] if text else []):
        events.append(chunk({"content": piece}, logprobs=[token(piece, " other", "\n")]))
    for i, (name, arguments) in enumerate(calls):
        events.append(chunk({"tool_calls": [{"index": i, "id": f"call_{i}", "type": "function",
                                             "function": {"name": name, "arguments": arguments}}]}))
    if failure:
        events.append({"error": {"message": failure}})
    else:
        events.append(chunk({}, "tool_calls" if calls else "stop"))
        events.append({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 7}})
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"


class WebPage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--memory", "80MB", "--context", "2048", "--parallel", "2")
        cls.playwright = sync_playwright().start()
        cls.browser = cls.playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        cls.has_libraries = len(cls.server.get("/web/libraries.js")) > 0

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        cls.playwright.stop()
        assert cls.server.stop() == 0

    def open(self, answers=None, libraries=True, context=None, **options):
        """A page, whose errors and requests are kept. `answers`: what the model says, in place of the server's."""
        context = context or self.browser.new_context(**options)
        page = context.new_page()
        self.troubles, self.asked, self.bodies = [], [], []
        page.on("console", lambda message: self.troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        if not libraries:
            page.route("**/web/libraries.js", lambda route: route.fulfill(**NO_LIBRARIES))
        if answers is not None:
            answers = iter(answers)

            def give(route):
                self.bodies.append(json.loads(route.request.post_data))
                body = next(answers)
                route.fulfill(status=200, content_type="text/event-stream", body=body)
            page.route("**/v1/chat/completions", give)
        page.goto(self.server.url + "/")
        # The page is set up once it knows its conversations.
        page.locator("#model", has_text=re.compile(".")).wait_for()
        self.addCleanup(context.close)
        return page

    def picture(self, page, name):
        if folder := os.environ.get("FLASHMOE_SCREENSHOTS"):
            page.screenshot(path=pathlib.Path(folder) / f"{name}.png")

    def say(self, page, text, ended=True):
        """Waits for the answer's end."""
        page.fill("#input", text)
        page.keyboard.press("Enter")
        if ended:
            page.locator("#send", has_text="Send").wait_for()

    def set_up(self, page, **settings):
        page.click("#open-settings")
        for name, value in settings.items():
            page.fill("#" + name, value)
        page.click("#close-settings")

    def choose(self, page, name):
        page.click("#conversation-menu")
        page.click("#menu-" + name)

    def answers_of(self, page):
        return page.locator(".message.assistant .text").all_inner_texts()

    # ---- with the model ----

    def test_runs_a_conversation_with_a_tool(self):
        page = self.open(viewport={"width": 1280, "height": 800})
        self.set_up(page, temperature="0", tools=json.dumps(TOOLS))
        self.say(page, "What is the weather in Paris?")
        page.locator(".result textarea").wait_for()
        self.assertIn('"city": "Paris"', page.locator(".call pre").inner_text())
        page.keyboard.type("18 degrees and sunny")  # the field has the focus
        page.keyboard.press("Enter")
        page.locator(".cost").nth(1).wait_for()
        self.assertIn("18", self.answers_of(page)[1])
        page.click("#new")
        self.assertEqual(page.locator(".message").count(), 0)
        self.assertEqual(self.troubles, [])
        self.assertTrue(all(url.startswith((self.server.url, "data:")) for url in self.asked), self.asked)

    def test_shows_the_machine_at_work(self):
        page = self.open(viewport={"width": 1280, "height": 800})
        self.set_up(page, max_tokens="600")
        self.say(page, "Tell me a long story.")
        page.locator("#hit-rate", has_text="%").wait_for()
        self.assertRegex(page.locator("#hit-rate").inner_text(), r"^\d+\.\d %$")
        self.assertRegex(page.locator("#memory-text").inner_text(), r"^\d+\.\d MiB in use of a budget of 76\.3 MiB$")
        legend = {row[0]: row[1:] for row in (
            line.locator("th, td").all_inner_texts() for line in page.locator("#memory-legend tr").all())}
        used, planned = (float(text.split()[0]) for text in legend["experts"])
        self.assertGreater(used, 0)
        self.assertLessEqual(used, planned)
        self.assertEqual(legend["buffers"][0], "")  # nobody counts it
        self.assertRegex(page.locator("#experts-text").inner_text(), r"^\d+ in memory, room for \d+ of 1024$")
        colours = page.evaluate("""() => {
            const canvas = document.getElementById("map");
            const bytes = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            const seen = new Set();
            for (let i = 0; i < bytes.length; i += 4) seen.add(bytes.slice(i, i + 4).join());
            return [canvas.width, seen.size];
        }""")
        self.assertEqual(colours[0], 4 * 128)
        self.assertGreater(colours[1], 3)
        page.hover("#map", position={"x": 30, "y": 10})
        self.assertRegex(page.locator("#map-detail").inner_text(), r"^Layer \d, expert \d+: ")
        self.assertEqual(self.troubles, [])

    def test_a_token_of_the_model_shows_its_alternatives(self):
        page = self.open()
        self.set_up(page, max_tokens="30", temperature="0")
        self.say(page, "Tell me a story.")
        page.locator(".message.assistant .text").focus()
        shown = []
        for _ in range(5):
            page.keyboard.press("ArrowRight")
            rows = page.locator("#token-box tr")
            self.assertEqual(rows.count(), 5)
            shown.append(page.locator("#token-box .chosen th").inner_text().replace("␣", " ").replace("⏎", "\n"))
        self.assertTrue(self.answers_of(page)[0].startswith("".join(shown).strip()), shown)
        page.keyboard.press("Escape")
        self.assertFalse(page.locator("#token-box").is_visible())

    def test_stops_by_a_key_and_goes_on(self):
        page = self.open()
        # The server's answer might end before the key is pressed.
        page.evaluate("""(begun) => {
            const ask = window.fetch;
            window.fetch = (url, options) => {
                window.fetch = ask;
                return new Response(new ReadableStream({start(stream) {
                    stream.enqueue(new TextEncoder().encode(begun));
                    options.signal.onabort = () => stream.error(options.signal.reason);
                }}));
            };
        }""", f"data: {json.dumps(chunk({'content': 'Once'}))}\n\n")
        self.say(page, "Tell me a long story.", ended=False)
        page.locator(".message.assistant .text", has_text="Once").wait_for()
        page.keyboard.press("Escape")
        page.locator("#send", has_text="Send").wait_for()
        self.assertIn("stopped", page.locator(".cost").inner_text())
        self.assertEqual(self.answers_of(page), ["Once"])
        self.say(page, "Hello")
        page.locator(".message.user").nth(1).wait_for()
        self.assertEqual(self.troubles, [])

    def test_says_what_went_wrong(self):
        page = self.open()
        self.say(page, "word " * 3000)
        self.assertIn("context", page.locator(".error").first.inner_text())

    # ---- what the model says ----

    def test_renders_markdown(self):
        page = self.open([answer(pieces=re.findall(r"\s*\w+|\W", MARKDOWN))])
        self.say(page, "Hello")
        text = page.locator(".message.assistant .text")
        self.assertEqual(page.locator(".code code").inner_text(), 'def f(x):\n\treturn "text"  # comment')
        if not self.has_libraries:
            self.skipTest("built without marked and DOMPurify")
        self.assertEqual(text.locator("h1").inner_text(), "Heading")
        self.assertEqual(text.locator("strong").inner_text(), "bold")
        self.assertEqual(text.locator("li").all_inner_texts(), ["one", "two"])
        self.assertEqual(text.locator("td").all_inner_texts(), ["1", "2"])
        self.assertEqual(page.locator(".hljs-string").inner_text(), '"text"')
        link = text.locator("a")
        self.assertEqual((link.get_attribute("href"), link.get_attribute("rel"), link.get_attribute("target")),
                         ("https://example.org/", "noopener noreferrer", "_blank"))
        self.assertEqual(self.troubles, [])

    def test_without_libraries_answers_are_text(self):
        page = self.open([answer(MARKDOWN)], libraries=False)
        self.say(page, "Hello")
        self.assertIn("Some **bold** text", self.answers_of(page)[0])
        self.assertIn("# Heading", self.answers_of(page)[0])
        self.assertEqual(page.locator(".code code").inner_text(), 'def f(x):\n\treturn "text"  # comment')
        self.assertEqual(page.locator(".message.assistant :is(strong, h1, table)").count(), 0)
        self.assertEqual(self.troubles, [])

    def test_hostile_text_does_nothing(self):
        for libraries in (True, False):
            page = self.open([answer(HOSTILE), answer(HOSTILE[:600]), answer("```\n<script>window.hacked = 16</script>")],
                             libraries=libraries)
            for question in ("<img src=x onerror=window.hacked=17> <b>bold</b>", "again", "again"):
                self.say(page, question)
            self.assertIn("<b>bold</b>", page.locator(".message.user .text").first.inner_text())
            answers = page.locator(".message.assistant .text")
            self.assertIn("<script>window.hacked = 1</script>", answers.first.inner_text())
            self.assertEqual(page.locator(".message :is(script, img, svg, iframe, style, object, form)").count(), 0)
            for href in page.locator(".text a[href]").evaluate_all("links => links.map((link) => link.href)"):
                self.assertRegex(href, "^http://127.0.0.1:1/picture.png$")
            attributes = answers.locator("*").evaluate_all(
                "nodes => nodes.flatMap((node) => [...node.attributes].map(({name}) => name))")
            self.assertFalse([name for name in attributes if name.startswith("on")])
            self.assertIsNone(page.evaluate("window.hacked ?? null"))
            self.assertTrue(all(url.startswith((self.server.url, "data:")) for url in self.asked), self.asked)
            self.assertEqual(self.troubles, [])

    def test_its_policy_stops_a_script_that_got_into_the_page(self):
        page = self.open()
        self.assertEqual(page.evaluate("""() => {
            const script = document.createElement("script");
            try { script.text = "window.hacked = 1"; } catch (failure) { return failure.name; }
            document.body.append(script);
            return window.hacked ?? "did not run";
        }"""), "TypeError")  # by trusted types
        self.assertEqual(page.evaluate("""() => {
            try { document.body.innerHTML = "<b>x</b>"; } catch (failure) { return failure.name; }
        }"""), "TypeError")

    def test_stands_huge_and_deep_markdown(self):
        texts = [">" * 20000, "- " * 20000, "[" * 20000, "*a " * 5000, "`" * 20001, "x" * 300000, "| a " * 3000 + "\n|---",
                 "\n".join("  " * i + "- x" for i in range(300)), "```js\n" + "(" * 60000]
        page = self.open([answer(text) for text in texts])
        for text in texts:
            self.say(page, "Hello")
            page.click("#new")
        self.say_nothing_is_lost(page)

    def say_nothing_is_lost(self, page):
        page.locator("#conversations button").first.click()
        self.assertIn("(((", page.locator(".code code").inner_text())
        self.assertEqual(self.troubles, [])

    def test_what_streams_in_is_what_is_there_at_the_end(self):
        # Cut anywhere, rendered at any moment: the same page as of the whole text.
        text = MARKDOWN + "\nSee [x][1] and\n\n1. a\n\n   b\n2. c\n\n[1]: https://example.org/x\n\n~~~\n```\n~~~\n\tcode\r\nend\n"
        page = self.open()
        streamed, whole = page.evaluate("""async (text) => {
            const {MarkdownView} = await import("/web/markdown.js");
            const view = new MarkdownView();
            document.body.append(view.node);
            for (let end = 1; end < text.length; end += 3) {
                view.update(text.slice(0, end));
                if (end % 7 === 0) await new Promise(requestAnimationFrame);
            }
            view.finish(text);
            const whole = new MarkdownView();
            whole.finish(text);
            return [view.node.outerHTML, whole.node.outerHTML];
        }""", text)
        self.assertEqual(streamed, whole)
        self.assertIn("def f(x)", page.evaluate("document.body.innerText"))

    def test_code_can_be_copied(self):
        page = self.open([answer(MARKDOWN)], permissions=["clipboard-read", "clipboard-write"])
        self.say(page, "Hello")
        page.click(".code figcaption button")
        page.locator(".code figcaption button", has_text="Copied").wait_for()
        self.assertEqual(page.evaluate("navigator.clipboard.readText()"), 'def f(x):\n\treturn "text"  # comment')

    def test_reasoning_folds(self):
        page = self.open([answer("Four.", reasoning="Two and two.")])
        self.say(page, "2 + 2?")
        thought = page.locator(".thought div")
        self.assertFalse(thought.is_visible())
        page.locator(".thought summary").focus()
        page.keyboard.press("Enter")
        self.assertEqual(thought.inner_text(), "Two and two.")

    def test_a_word_shows_its_alternatives_under_the_pointer(self):
        pieces = ["The", " **", "bold", "**", " one", " and", " `", "code", "`", " 你", "好"]
        page = self.open([answer(pieces=pieces)])
        self.say(page, "Hello")
        page.locator(".message.assistant .text").wait_for()
        for word in ("bold", "code", "and", "好"):
            where = page.evaluate("""(word) => {
                const walker = document.createTreeWalker(document.querySelector(".message.assistant .text"), NodeFilter.SHOW_TEXT);
                while (walker.nextNode()) {
                    const at = walker.currentNode.data.indexOf(word);
                    if (at < 0) continue;
                    const range = document.createRange();
                    range.setStart(walker.currentNode, at);
                    range.setEnd(walker.currentNode, at + word.length);
                    const box = range.getBoundingClientRect();
                    return [box.left + box.width / 2, box.top + box.height / 2];
                }
            }""", word)
            page.mouse.move(*where)
            rows = page.locator("#token-box th").all_inner_texts()
            self.assertEqual(rows[0].strip("␣"), word)
            self.assertEqual(rows[1:], ["␣other", "⏎"])
        self.assertIn("81.9 %", page.locator("#token-box").inner_text())
        page.mouse.move(1, 1)
        self.assertFalse(page.locator("#token-box").is_visible())
        self.assertTrue(self.bodies[0]["logprobs"])

    # ---- conversations ----

    def test_conversations_stay_in_the_browser(self):
        context = self.browser.new_context()
        page = self.open([answer("One."), answer("Two.")], context=context)
        self.say(page, "First question")
        page.click("#new")
        self.say(page, "Second question")
        page = self.open(context=context)  # another visit
        page.locator("#title", has_text="Second question").wait_for()
        self.assertEqual(self.answers_of(page), ["Two."])
        page.click("#conversations button:has-text('First question')")
        page.locator("#title", has_text="First question").wait_for()
        self.assertEqual(self.answers_of(page), ["One."])
        self.choose(page, "rename")
        page.keyboard.type("Another name")
        page.keyboard.press("Enter")
        page.locator("#conversations button", has_text="Another name").wait_for()
        self.choose(page, "delete")
        page.locator("#notice").wait_for()
        self.assertEqual(page.locator("#conversations button").all_inner_texts(), ["Second question"])
        page.click("#notice button:has-text('Undo')")
        page.locator("#title", has_text="Another name").wait_for()
        self.assertEqual(self.answers_of(page), ["One."])
        self.assertEqual(self.troubles, [])

    def test_messages_are_edited_and_answers_regenerated(self):
        page = self.open([answer("One."), answer("Two."), answer("Three.")])
        self.say(page, "Hello")
        page.locator(".message.assistant").get_by_text("Regenerate").click()
        page.locator(".text", has_text="Two.").wait_for()
        page.locator(".message.user").hover()
        page.locator(".message.user").get_by_text("Edit").click()
        page.fill(".edit textarea", "Good evening")
        page.keyboard.press("Enter")
        page.locator(".text", has_text="Three.").wait_for()
        self.assertEqual([body["messages"] for body in self.bodies],
                         2 * [[{"role": "user", "content": "Hello"}]] + [[{"role": "user", "content": "Good evening"}]])
        page.locator(".message.assistant").get_by_text("Edit").click()
        page.fill(".edit textarea", "Mine.")
        page.click(".edit button[type=submit]")
        page.locator(".text", has_text="Mine.").wait_for()
        self.assertEqual(len(self.bodies), 3)

    def test_conversations_are_exported(self):
        page = self.open([answer("Sure:\n```\ncode\n```", reasoning="Hm.", calls=[("get_weather", '{"city": "Paris"}')]),
                          answer("Sunny.")])
        self.set_up(page, system="Be brief.", seed="18446744073709551615")
        self.say(page, "The weather?")
        page.fill(".result textarea", "18 `degrees`")
        page.keyboard.press("Enter")
        page.locator(".text", has_text="Sunny.").wait_for()
        with page.expect_download() as download:
            self.choose(page, "json")
        kept = json.loads(pathlib.Path(download.value.path()).read_text())
        self.assertEqual(kept["settings"], {"seed": "18446744073709551615"})
        self.assertEqual([message["role"] for message in kept["messages"]],
                         ["system", "user", "assistant", "tool", "assistant"])
        self.assertEqual(kept["messages"][2]["tool_calls"][0]["function"],
                         {"name": "get_weather", "arguments": '{"city": "Paris"}'})
        # It is what the server was sent.
        self.assertEqual(kept["messages"][:4], self.bodies[1]["messages"])
        self.assertEqual(self.bodies[1]["seed"], 2**64 - 1)
        with page.expect_download() as download:
            self.choose(page, "markdown")
        self.assertEqual(download.value.suggested_filename, "The weather_.md")
        text = pathlib.Path(download.value.path()).read_text()
        for part in ("# The weather?", "## System\n\nBe brief.", "## Result of get_weather\n\n```\n18 `degrees`\n```", "Sunny."):
            self.assertIn(part, text)

    def test_a_full_browser_is_told_of(self):
        page = self.open([answer("One."), answer("Two.")])
        page.evaluate("""() => { IDBObjectStore.prototype.put = () => {
            throw new DOMException("full", "QuotaExceededError");
        }; }""")
        self.say(page, "Hello")
        page.locator("#notice", has_text="storage is full").wait_for()
        page.click("#new")
        self.say(page, "Another")
        page.click("#conversations button:has-text('Hello')")  # until the page closes
        page.locator(".text", has_text="One.").wait_for()

    def test_a_browser_that_keeps_nothing_serves(self):
        context = self.browser.new_context()
        context.add_init_script("""
            delete window.indexedDB;
            Object.defineProperty(window, "indexedDB", {get() { throw new DOMException("no", "SecurityError"); }});
            Object.defineProperty(window, "localStorage", {get() { throw new DOMException("no", "SecurityError"); }});
        """)
        page = self.open([answer("One.")], context=context)
        self.say(page, "Hello")
        self.assertEqual(self.answers_of(page), ["One."])
        self.assertEqual(self.troubles, [])

    def test_wrong_tools_are_named(self):
        page = self.open([answer("One.")])
        self.set_up(page, tools='[{"name": "x"}]')
        self.assertIn("must be a list", page.locator("#tools-error").text_content())
        self.say(page, "Hello")
        self.assertIn("must be a list", page.locator(".message .error").inner_text())
        self.assertEqual(self.bodies, [])

    # ---- looks and access ----

    def test_fits_every_width_in_light_and_dark(self):
        for width in WIDTHS:
            for scheme in ("light", "dark"):
                page = self.open([answer(MARKDOWN, reasoning="Hm.")], viewport={"width": width, "height": 800},
                                 color_scheme=scheme)
                self.say(page, "Show me some Markdown")
                self.picture(page, f"{width}-{scheme}")
                self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), width)
                for panel in ("machine", "chats"):
                    if not page.locator("#" + panel).is_visible():
                        page.click("#toggle-" + panel)
                    self.assertTrue(page.locator("#" + panel).is_visible())
                    self.picture(page, f"{width}-{scheme}-{panel}")
                back = page.evaluate("getComputedStyle(document.body).backgroundColor")
                self.assertEqual(int(re.findall(r"\d+", back)[0]) < 60, scheme == "dark")

    def test_colours_can_be_chosen(self):
        context = self.browser.new_context(color_scheme="light")
        page = self.open(context=context)
        page.click("#theme")
        self.assertEqual(page.locator("#theme").get_attribute("aria-label"), "Colours: light")
        page.click("#theme")
        page = self.open(context=context)
        self.assertIn("dark", page.locator("#theme").get_attribute("aria-label"))
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        self.assertLess(int(re.findall(r"\d+", back)[0]), 60)

    def test_everything_has_a_name(self):
        page = self.open([answer(MARKDOWN)])
        self.say(page, "Hello")
        page.click("#toggle-chats") if not page.locator("#chats").is_visible() else None
        nameless = page.evaluate("""() => [...document.querySelectorAll("button, input, textarea, canvas:not([aria-hidden])")]
            .filter((node) => !(node.textContent.trim() || node.getAttribute("aria-label") || node.labels?.length))
            .map((node) => node.outerHTML)""")
        self.assertEqual(nameless, [])


if __name__ == "__main__":
    if BROWSER is None:
        print("skipped: no Chromium is installed")
        sys.exit(77)
    unittest.main()
