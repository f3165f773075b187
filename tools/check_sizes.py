"""Hold the size caps of docs/architecture.md: files, functions and positional parameters.

python tools/check_sizes.py src/vitreous
"""

import ast
import io
import statistics
import sys
import tokenize
from pathlib import Path

MEDIAN_FILE_LINES = 120
FILE_LINES = 400
FUNCTION_CODE_LINES = 60
POSITIONAL_PARAMETERS = 5


def code_lines(source: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function that hold code: no blanks, comments or docstring."""
    doc = node.body[0] if ast.get_docstring(node) is not None else None
    skipped = set(range(doc.lineno, (doc.end_lineno or doc.lineno) + 1)) if doc else set()
    ignored = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in ignored
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len({n for n in lines if node.lineno <= n <= (node.end_lineno or node.lineno)} - skipped)


def problems_in(path: Path) -> list[str]:
    """List what is above a cap in one file."""
    source = path.read_text()
    found = []
    if (n := len(source.splitlines())) > FILE_LINES:
        found.append(f"{path}: {n} lines, above {FILE_LINES}")
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if (n := code_lines(source, node)) > FUNCTION_CODE_LINES:
            found.append(f"{path}:{node.lineno}: {node.name} has {n} code lines, above {FUNCTION_CODE_LINES}")
        names = [a.arg for a in node.args.posonlyargs + node.args.args if a.arg not in {"self", "cls"}]
        compiled = any("njit" in ast.unparse(d) for d in node.decorator_list)  # a kernel takes bare arrays
        if len(names) > POSITIONAL_PARAMETERS and not compiled:
            found.append(f"{path}:{node.lineno}: {node.name} takes {len(names)} positional parameters")
    return found


def main() -> int:
    """Check every Python file below the folders on the command line."""
    files = sorted(f for root in sys.argv[1:] for f in Path(root).rglob("*.py"))
    found = [problem for f in files for problem in problems_in(f)]
    lengths = [len(f.read_text().splitlines()) for f in files if f.name != "__init__.py"]
    if lengths and (median := statistics.median(lengths)) > MEDIAN_FILE_LINES:
        found.append(f"median file has {median:.0f} lines, above {MEDIAN_FILE_LINES}")
    print(
        "\n".join(found) or f"sizes: {len(files)} files, median {statistics.median(lengths):.0f} lines, all within caps"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
