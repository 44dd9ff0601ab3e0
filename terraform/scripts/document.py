"""Writes the tables of variables and outputs into each module's README; `--check` only compares.

    python terraform/scripts/document.py [--check]

Reads `variables.tf` and `outputs.tf` as `terraform fmt` leaves them; needs nothing but Python.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- begin generated -->", "<!-- end generated -->"
BLOCK = re.compile(
    r'^(?:variable|output) "(?P<name>[^"]+)" \{\n(?P<body>.*?)^\}', re.MULTILINE | re.DOTALL
)


def modules() -> list[Path]:
    """Return the folders that have a README to keep: the root module and every module."""
    return [ROOT, *sorted(path for path in (ROOT / "modules").iterdir() if path.is_dir())]


def blocks(file: Path) -> dict[str, str]:
    """Return the body of each variable or output of a file, by name, in the file's order."""
    if not file.exists():
        return {}
    return {match["name"]: match["body"] for match in BLOCK.finditer(file.read_text())}


def argument(body: str, name: str) -> str | None:
    """Return the text of one argument of a block: a literal, an expression or a heredoc."""
    start = re.search(rf"^  {name}\s*= ", body, re.MULTILINE)
    if start is None:
        return None
    text = body[start.end() :]
    if text.startswith("<<-EOT"):
        lines = text.split("\n", 1)[1].split("\n    EOT", 1)[0].split("\n  EOT", 1)[0]
        return " ".join(line.strip() for line in lines.splitlines())
    depth, kept = 0, ""
    for line in map(str.strip, text.splitlines()):
        closing = line[:1] in ("}", ")", "]")
        joint = "" if not kept else " " if closing or kept.endswith(("{", "[", "(", ",")) else ", "
        kept += joint + line
        depth += sum(line.count(c) for c in "({[") - sum(line.count(c) for c in ")}]")
        if depth <= 0:
            break
    return re.sub(r"\s+", " ", kept)


def cell(text: str | None) -> str:
    """Return text fit for a Markdown table cell."""
    return (text or "").strip('"').replace('\\"', '"').replace("|", "\\|")


def code(text: str | None) -> str:
    """Return an expression as a code cell; empty for none."""
    return f"`{text.replace('|', chr(92) + '|')}`" if text is not None else ""


def tables(folder: Path) -> str:
    """Return the generated part of a module's README."""
    lines = ["## Variables", "", "| name | type | default | description |", "|---|---|---|---|"]
    for name, body in blocks(folder / "variables.tf").items():
        default = argument(body, "default")
        lines.append(
            f"| {name} | {code(argument(body, 'type'))} | "
            f"{code(default) if default is not None else 'required'} | "
            f"{cell(argument(body, 'description'))} |"
        )
    lines += ["", "## Outputs", "", "| name | description |", "|---|---|"]
    for name, body in blocks(folder / "outputs.tf").items():
        lines.append(f"| {name} | {cell(argument(body, 'description'))} |")
    return "\n".join(lines)


def documented(text: str, folder: Path) -> str:
    """Return a README's text with its generated part brought up to date."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head.rstrip()}\n\n{BEGIN}\n{tables(folder)}\n{END}\n{tail.lstrip()}"


def main() -> int:
    """Write, or with `--check` compare, every README; return the exit status."""
    stale = []
    for folder in modules():
        readme = folder / "README.md"
        before = readme.read_text()
        after = documented(before, folder)
        if before != after:
            stale.append(readme.relative_to(ROOT.parent))
            if "--check" not in sys.argv:
                readme.write_text(after)
    for path in stale:
        print(f"{path} is out of date: run terraform/scripts/document.py")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
