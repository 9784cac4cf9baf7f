"""Reports read back: the page as a tree, and the tables of the Markdown."""

import dataclasses
import re
from collections.abc import Iterator
from html.parser import HTMLParser

#: Elements without an end.
_EMPTY = {"meta", "img", "br", "hr", "input", "link", "source", "wbr"}
_LOADING = {"src", "href", "xlink:href", "srcset", "data", "poster", "action", "background"}


@dataclasses.dataclass
class Node:
    """An element with its attributes and what is in it: texts and elements."""

    tag: str
    attributes: dict[str, str]
    content: list

    def all(self, tag: str | None = None, cls: str | None = None) -> Iterator["Node"]:
        """Yields the elements below of this tag and class."""
        for part in self.content:
            if isinstance(part, Node):
                classes = part.attributes.get("class", "").split()
                if tag in (None, part.tag) and (cls is None or cls in classes):
                    yield part
                yield from part.all(tag, cls)

    def one(self, tag: str, cls: str | None = None) -> "Node":
        """Returns the only element of this tag and class."""
        (node,) = self.all(tag, cls)
        return node

    def by_id(self, name: str) -> "Node":
        """Returns the element of this id."""
        (node,) = (node for node in self.all() if node.attributes.get("id") == name)
        return node

    @property
    def text(self) -> str:
        """All texts below, with single spaces."""
        parts = (part.text if isinstance(part, Node) else part for part in self.content)
        return " ".join(" ".join(parts).split())


class _Builder(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.root = Node("", {}, [])
        self.open = [self.root]

    def handle_starttag(self, tag, attrs):
        node = Node(tag, {name: value or "" for name, value in attrs}, [])
        assert len(node.attributes) == len(attrs), f"an attribute twice in <{tag}>"
        self.open[-1].content.append(node)
        if tag not in _EMPTY:
            self.open.append(node)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in _EMPTY:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop().tag == tag, f"</{tag}> ends another element"

    def handle_data(self, data):
        self.open[-1].content.append(data)


def read_page(text: str) -> Node:
    """Returns the tree of a page, after checking that it is sound and loads nothing."""
    builder = _Builder()
    builder.feed(text)
    builder.close()
    assert builder.open == [builder.root], f"never ended: {builder.open[-1].tag}"
    page = builder.root
    ids = [node.attributes["id"] for node in page.all() if "id" in node.attributes]
    assert len(set(ids)) == len(ids)
    assert not list(page.all("script"))
    for node in page.all():
        for name in _LOADING & set(node.attributes):
            value = node.attributes[name]
            assert value.startswith(("data:image/", "#")), value
            if value.startswith("#"):
                assert value[1:] in ids, value
        for name in ("aria-labelledby", "aria-describedby"):
            assert node.attributes.get(name, ids[0]) in ids
        if node.tag == "img":
            assert node.attributes["alt"]
    for target in re.findall(r"url\(([^)]*)\)", text):
        assert target[:1] == "#" and target[1:] in ids, target
    assert "http:" not in text and "https:" not in text and "@import" not in text
    assert page.one("html").attributes["lang"] == "en"
    assert page.one("title").text
    return page


def read_table(node: Node) -> list[list[str]]:
    """Returns the texts of a table's cells, by row."""
    return [[cell.text for cell in row.content if isinstance(cell, Node)] for row in node.all("tr")]


def read_markdown(text: str) -> dict[str, list[list[str]]]:
    """Returns the cells of the tables by the first heading of each, escapes undone."""
    tables: dict[str, list[list[str]]] = {}
    for block in text.split("\n\n"):
        lines = block.strip().splitlines()
        if not lines[0].startswith("|"):
            continue
        assert len({len(line) for line in lines}) == 1, "columns do not line up"
        rows = [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
        assert len({len(row) for row in rows}) == 1
        assert all(set(mark) <= set("-:") for mark in rows[1])
        name = rows[0][0]
        assert name not in tables
        tables[name] = [
            [re.sub(r"\\([\W_])", r"\1", cell) for cell in row] for row in [rows[0], *rows[2:]]
        ]
    return tables
