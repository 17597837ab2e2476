"""The built documentation loads nothing from other hosts, links to papers, and looks right in a browser."""

import codeop
import functools
import http.server
import importlib
import inspect
import re
import sys
import threading
import urllib.parse
from html.parser import HTMLParser

import pytest

import ganlib
from tests.site import browser
from tests.site.build import DOCS, site

LINK = re.compile(r"arXiv:(\d{4}\.\d{4,5}|[a-z-]+/\d{7})|doi:10\.\d{4,9}/\S|https://")


@pytest.fixture(scope="module")
def pages():
    """The HTML files, without the copies of the source code."""
    found = sorted(site().rglob("*.html"))
    return [path for path in found if "_modules" not in path.parts and "_static" not in path.parts]


class Loaded(HTMLParser):
    """What a browser loads for a page, and the text of its blocks of code."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.blocks, self._depth = [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note sources and style sheets, and where a block begins."""
        values = dict(attrs)
        if tag == "link" and values.get("rel") in {"stylesheet", "preload", "icon", "shortcut icon"}:
            self.addresses.append(values["href"])
        elif tag not in {"a", "link"}:
            self.addresses += [values[name] for name in ("src", "srcset", "poster", "data") if values.get(name)]
        if tag == "pre":
            self.blocks.append("")
            self._depth = 1

    def handle_endtag(self, tag):
        """Note where a block ends."""
        if tag == "pre":
            self._depth = 0

    def handle_data(self, data):
        """Collect the text of a block."""
        if self._depth:
            self.blocks[-1] += data


@functools.cache
def parse(page):
    """Parse a page once for all tests."""
    return Loaded(page.read_text("utf-8"))


def test_nothing_is_loaded_from_another_host(pages):
    """Scripts, style sheets, images and fonts lie next to the pages."""
    foreign = re.compile(r"(https?:)?//")
    wrong = [(page.name, at) for page in pages for at in parse(page).addresses if foreign.match(at)]
    for sheet in site().rglob("*.css"):
        wrong += [
            (sheet.name, at)
            for at in re.findall(r"(?:url\(|@import\s+)['\"]?((?:https?:)?//[^'\")]+)", sheet.read_text("utf-8"))
        ]
    assert not wrong


def test_lines_of_code_fit(pages):
    """A line of code on a page has at most 88 characters, prompt included, so that no screen for work breaks it."""
    wrong = {}
    for page in pages:
        for block in parse(page).blocks:
            session = ">>> " in block
            lines = [line for line in block.splitlines() if line.startswith((">>> ", "... ")) or not session]
            if "reference" not in page.parts and any(len(line) > 88 for line in lines):
                wrong.setdefault(page.name, []).extend(line for line in lines if len(line) > 88)
    assert not wrong


def public_objects():
    """Yield each public class and function, and the documented members of the classes."""
    for package in ganlib.__all__:
        module = importlib.import_module(f"ganlib.{package}")
        yield f"ganlib.{package}", module
        for name in module.__all__:
            obj = getattr(module, name)
            yield f"ganlib.{package}.{name}", obj
            if inspect.isclass(obj):
                yield from (
                    (f"ganlib.{package}.{name}.{member}", value)
                    for member, value in vars(obj).items()
                    if not member.startswith("_")
                )


def references(docstring):
    """Return the paragraphs of the section "References" of a docstring."""
    section = re.search(r"^References?:\n((?:[ \t]+.*\n?|\n)+)", docstring, re.MULTILINE)
    return re.split(r"\n\s*\n|\n\s*[-*] ", section[1].strip()) if section else []


@pytest.mark.parametrize("package", ganlib.__all__)
def test_references_have_links(package):
    """Each reference of a docstring has an arXiv id, a DOI or an address."""
    wrong = [
        (name, reference)
        for name, obj in public_objects()
        if name.startswith(f"ganlib.{package}.") or name == f"ganlib.{package}"
        for reference in references(inspect.getdoc(obj) or "")
        if not LINK.search(reference)
    ]
    assert not wrong


def test_papers_are_links(pages):
    """Every arXiv id and DOI outside code is a link to the paper."""
    for page in pages:
        text = re.sub(
            r"<(pre|code|title|script)\b.*?</\1>|<a .*?</a>|<meta [^>]*>", "", page.read_text("utf-8"), flags=re.DOTALL
        )
        assert not re.findall(r"arXiv:\d{4}\.\d{4,5}|doi:10\.\d{4,9}/\S+", text), page


@pytest.fixture(scope="module")
def extension():
    """The module that makes the links."""
    pytest.importorskip("sphinx")
    sys.path.insert(0, str(DOCS / "_ext"))
    yield importlib.import_module("paper_links")
    sys.path.remove(str(DOCS / "_ext"))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("See arXiv:1406.2661, section 4.", "https://arxiv.org/abs/1406.2661"),
        ("arXiv:1802.05957v1", "https://arxiv.org/abs/1802.05957v1"),
        ("arXiv:cs/0112017.", "https://arxiv.org/abs/cs/0112017"),
        ("(doi:10.1109/CVPR.2017.632)", "https://doi.org/10.1109/CVPR.2017.632"),
        ("doi:10.1016/0377-0427(87)90125-7.", "https://doi.org/10.1016/0377-0427(87)90125-7"),
        ("(see doi:10.1016/0377-0427(87)90125-7).", "https://doi.org/10.1016/0377-0427(87)90125-7"),
    ],
)
def test_the_address_of_a_paper(extension, text, address):
    """The link ends where the identifier ends, and the text stays as it is."""
    parts = extension.linked(text)
    assert [part["refuri"] for part in parts if not isinstance(part, str)] == [address]
    assert "".join(part.astext() for part in parts) == text


def test_each_page_says_where_its_source_is(pages):
    """The buttons "view" and "edit" lead to a file of the repository, those of a generated page to the code."""
    for page in pages:
        for where in re.findall(
            r'href="https://github.com/ganlib/ganlib/(?:blob|edit)/main/([^"?]+)', page.read_text("utf-8")
        ):
            assert (DOCS.parent / where).is_file(), (page, where)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A web server of a folder, without a log."""

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture(scope="module")
def address(pages):
    """The address of a web server of the site."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site())) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def chromium():
    """A browser without a network."""
    binary = browser.find()
    if binary is None or sys.platform == "win32":
        pytest.skip("needs Chromium")
    with browser.Browser(binary) as page:
        yield page


# What is wider than its box: the page itself, a box with a scroll bar, a formula.
TOO_WIDE = """(() => {
    const wide = (box) => box.scrollWidth > box.clientWidth + 1;
    const scrolls = (box) => /auto|scroll/.test(getComputedStyle(box).overflowX) || box.matches("html, div.math");
    const boxes = [document.documentElement, ...document.querySelectorAll("article *")];
    const wrong = boxes.filter((box) => wide(box) && scrolls(box) && !box.closest(".katex-mathml"));
    return wrong.map((box) => `${box.tagName}.${box.className}: ${box.textContent.trim().slice(0, 60)}`);
})()"""
NOT_RENDERED = """[...document.querySelectorAll(".math.notranslate")]
    .filter((formula) => !formula.querySelector(".katex-html") || formula.querySelector(".katex-error"))
    .map((formula) => formula.textContent)"""
FRAME = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))).then(() => 0)"


def test_every_page_opens_on_a_phone_and_on_a_desktop(chromium, address, pages):
    """No request fails, formulas are rendered, and nothing has a horizontal scroll bar at 390 and 1440 pixels."""
    wrong = {}
    for page in pages:
        name = page.relative_to(site()).as_posix()
        chromium.resize(1440)
        problems = chromium.open(f"{address}/{name}")
        problems += [f"not rendered: {formula}" for formula in chromium.evaluate(NOT_RENDERED)]
        problems += [f"1440: {box}" for box in chromium.evaluate(TOO_WIDE)]
        chromium.resize(390)
        chromium.evaluate(FRAME)
        problems += [f"390: {box}" for box in chromium.evaluate(TOO_WIDE)]
        if problems:
            wrong[name] = problems
    assert not wrong


# What people type, and a page that must be among the first five that the search finds.
SEARCHES = {
    "onnx": "how-to/export",
    "serve": "how-to/export",
    "tensorboard": "how-to/log",
    "wandb": "how-to/log",
    "multi gpu": "how-to/run_on_a_cluster",
    "multi-gpu": "how-to/run_on_a_cluster",
    "slurm": "how-to/run_on_a_cluster",
    "ddp": "how-to/run_on_a_cluster",
    "mode collapse": "how-to/my_gan_collapses",
    "fid": "how-to/how_good_is_my_gan",
    "evaluate": "how-to/how_good_is_my_gan",
    "checkpoint": "how-to/stop_and_resume",
    "resume": "how-to/stop_and_resume",
    "freeze-d": "how-to/fine_tune",
    "few images": "how-to/small_data",
    "small data": "how-to/small_data",
    "wgan-gp": "reference/generated/ganlib.penalties.GradientPenalty",
    "r1": "reference/generated/ganlib.penalties.R1",
    "hinge": "reference/generated/ganlib.losses.HingeLoss",
    "label smoothing": "reference/generated/ganlib.losses.LabelSmoothing",
    "inception": "reference/generated/ganlib.metrics.InceptionScore",
    "nan": "how-to/when_training_diverges",
    "pix2pix": "gallery/beyond_the_plain_gan",
    "cyclegan": "gallery/beyond_the_plain_gan",
    "cuda graph": "explanation/performance",
    "mixed precision": "how-to/faq",
    "out of memory": "how-to/faq",
    "colab": "how-to/faq",
    "docker": "how-to/export",
    "inference": "how-to/export",
    "own images": "how-to/own_pictures",
    "custom dataset": "how-to/own_pictures",
    "own loss": "how-to/own_loss",
    "custom loss": "how-to/own_loss",
    "pretrained": "how-to/trained_models",
    "small dataset": "how-to/small_data",
    "overfitting": "how-to/small_data",
    "discriminator loss zero": "how-to/my_gan_collapses",
    "loss not decreasing": "how-to/faq",
    "oom": "how-to/faq",
    "apple": "how-to/devices",
}
FOUND = """new Promise((done) => {
    const look = (tries) => {
        const links = [...document.querySelectorAll("#search-results li > a")].map((link) => link.pathname.slice(1));
        const summary = document.querySelector(".search-summary")?.textContent ?? "";
        const ended = tries === 0 || /found|match/.test(summary);
        if (ended) done(links.slice(0, 5));
        else setTimeout(look, 20, tries - 1);
    };
    look(500);
})"""


def test_the_search_finds_what_people_type(chromium, address):
    """The page that helps is among the first five results."""
    wrong = {}
    chromium.resize(1440)
    for words, expected in SEARCHES.items():
        problems = chromium.open(f"{address}/search.html?q={urllib.parse.quote(words)}")
        found = chromium.evaluate(FOUND)
        if problems or f"{expected}.html" not in found:
            wrong[words] = (expected, found, problems)
    assert not wrong


COPIED = """[...document.querySelectorAll("div.highlight pre")].map((block) => {
    let text;
    document.execCommand = () => (text = document.querySelector("body > textarea").value, true);
    block.parentElement.querySelector("button.copybtn").click();
    return [block.textContent, text];
})"""


@pytest.mark.parametrize(
    "name", [path.stem for path in sorted((DOCS / "how-to").glob("*.rst")) if path.stem != "index"]
)
def test_copied_code_can_be_pasted_into_a_plain_session(chromium, address, name):
    """The copy button leaves prompts and output out; no blank line cuts a class or a function in two."""
    chromium.open(f"{address}/how-to/{name}.html")
    for block, copied in chromium.evaluate(COPIED):
        if ">>>" not in block and not re.search(r"^(import|from|class|def) ", block, re.MULTILINE):
            continue  # a command, an output or a fragment
        assert not re.search(r"^(>>>|\.\.\.)", copied, re.MULTILINE)
        waiting = []
        for line in [*copied.split("\n"), ""]:
            waiting.append(line)
            compiled = codeop.compile_command("\n".join(waiting))  # raises SyntaxError, as the session would
            if compiled is not None:
                waiting.clear()
        assert not "".join(waiting)
