"""The web page in a real browser: Chromium, without a window. FLASHMOE_SCREENSHOTS names a folder to keep pictures in."""

import json
import os
import pathlib
import shutil
import sys
import unittest

from playwright.sync_api import sync_playwright

from serving import TOOLS, Server

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class WebPage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--memory", "80MB", "--context", "2048", "--parallel", "2")
        cls.playwright = sync_playwright().start()
        cls.browser = cls.playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        cls.playwright.stop()
        assert cls.server.stop() == 0

    def open(self, **options):
        """A page, whose errors and requests are kept."""
        page = self.browser.new_context(**options).new_page()
        self.troubles, self.asked = [], []
        page.on("console", lambda message: self.troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(self.server.url + "/")
        self.addCleanup(page.context.close)
        return page

    def picture(self, page, name):
        if folder := os.environ.get("FLASHMOE_SCREENSHOTS"):
            page.screenshot(path=pathlib.Path(folder) / f"{name}.png", full_page=True)

    def say(self, page, text):
        page.fill("#input", text)
        page.keyboard.press("Enter")

    def set_up(self, page, **settings):
        page.click("#toggle-settings")
        for name, value in settings.items():
            page.fill("#" + name, value)
        page.click("#toggle-settings")

    def test_runs_a_conversation_with_a_tool(self):
        page = self.open(viewport={"width": 1280, "height": 800})
        self.set_up(page, temperature="0", tools=json.dumps(TOOLS))
        self.say(page, "What is the weather in Paris?")
        page.locator(".call form input").wait_for()
        self.assertIn('{"city": "Paris"}', page.locator(".call code").inner_text())
        page.fill(".call form input", "18 degrees and sunny")
        page.keyboard.press("Enter")
        page.locator(".cost").nth(1).wait_for()
        self.assertIn("18", page.locator(".message.assistant .text").nth(1).inner_text())
        self.picture(page, "conversation")
        page.click("#new")
        self.assertEqual(page.locator(".message").count(), 0)
        self.assertEqual(self.troubles, [])
        self.assertTrue(all(url.startswith((self.server.url, "data:")) for url in self.asked), self.asked)

    def test_shows_the_machine_at_work(self):
        page = self.open()
        self.set_up(page, max_tokens="600")
        self.say(page, "Tell me a long story.")
        page.locator(".cost").wait_for()
        page.wait_for_timeout(1500)
        self.assertRegex(page.locator("#hit-rate").inner_text(), r"^\d+\.\d %$")
        self.assertIn("budget", page.locator("#memory-text").inner_text())
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

    def test_fits_a_phone_and_the_dark(self):
        page = self.open(viewport={"width": 390, "height": 844}, color_scheme="dark")
        self.say(page, "Hello")
        page.locator(".cost").wait_for()
        self.picture(page, "phone")
        self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), 390)
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        self.assertLess(int(back.split("(")[1].split(",")[0]), 60)

    def test_stops_by_a_key_and_goes_on(self):
        page = self.open()
        self.set_up(page, max_tokens="1500", temperature="1")
        self.say(page, "Tell me a long story.")
        page.locator(".message.assistant .text").filter(has_text=" ").wait_for()
        page.keyboard.press("Escape")
        page.locator("#send", has_text="Send").wait_for()
        self.say(page, "Hello")
        page.locator(".message.user").nth(1).wait_for()
        self.assertEqual(self.troubles, [])

    def test_shows_text_as_text(self):
        page = self.open()
        self.say(page, "<img src=x onerror=alert(1)> <b>bold</b>")
        page.locator(".cost").wait_for()
        self.assertIn("<b>bold</b>", page.locator(".message.user .text").inner_text())
        self.assertEqual(page.locator(".message img").count(), 0)

    def test_says_what_went_wrong(self):
        page = self.open()
        self.say(page, "word " * 3000)
        page.locator(".error").wait_for()
        self.assertIn("context", page.locator(".error").inner_text())


if __name__ == "__main__":
    if BROWSER is None:
        print("skipped: no Chromium is installed")
        sys.exit(77)
    unittest.main()
