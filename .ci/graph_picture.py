"""The picture of the asset graph: a box for each group with its assets, a row for each stage, as SVG."""

from collections import defaultdict
from typing import Any
from xml.sax.saxutils import escape

WIDTH, MARGIN, GAP = 680, 12, 34
LINE, HEAD, BOTTOM = 20, 30, 10
MOST_BOX = 210
STYLE = """\
rect { fill: #f3f8f7; stroke: #00796b; } path { stroke: #607d78; fill: none; stroke-width: 1.5; marker-end: url(#tip); }
text { font: 13px ui-monospace, monospace; fill: #12302c; text-anchor: middle; }
text.group { font: bold 14px system-ui, sans-serif; }"""
TIP = (
    '<marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0 10 5 0 10z" style="fill: #607d78; stroke: none; marker-end: none"/></marker>'
)


def graph_picture(graph: Any) -> str:
    """The picture of Dagster's asset graph `graph`."""
    top, parts = MARGIN, []
    for number, stage in enumerate(stages(graph)):
        height = HEAD + LINE * max(len(assets) for assets in stage.values()) + BOTTOM
        if number:
            parts.append(f'<path d="M{WIDTH / 2:g} {top - GAP + 3} V{top - 3}"/>')
        width = min(MOST_BOX, (WIDTH - 2 * MARGIN) / len(stage) - MARGIN)
        left = (WIDTH - len(stage) * (width + MARGIN) + MARGIN) / 2
        for position, (group, assets) in enumerate(stage.items()):
            x, middle = left + position * (width + MARGIN), left + position * (width + MARGIN) + width / 2
            parts.append(f'<rect x="{x:g}" y="{top}" width="{width:g}" height="{height}" rx="8"/>')
            parts.append(f'<text class="group" x="{middle:g}" y="{top + 20}">{escape(group)}</text>')
            for line, asset in enumerate(assets, 1):
                parts.append(f'<text x="{middle:g}" y="{top + 22 + LINE * line}">{escape(asset)}</text>')
        top += height + GAP
    height = top - GAP + MARGIN
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
    return "\n".join([head, f"<style>{STYLE}</style>", f"<defs>{TIP}</defs>", *parts, "</svg>"])


def stages(graph: Any) -> list[dict[str, list[str]]]:
    """The groups by how far down they are, each with its assets: all that a group reads is in stages above its own."""
    group_of = {key: str(graph.get(key).group_name) for key in graph.toposorted_asset_keys}
    assets: dict[str, list[str]] = defaultdict(list)
    above: dict[str, set[str]] = defaultdict(set)
    for key, group in group_of.items():
        assets[group].append(key.to_user_string())
        above[group] |= {group_of[parent] for parent in graph.get(key).parent_keys} - {group}

    def depth(group: str) -> int:
        return max((depth(other) + 1 for other in above[group]), default=0)

    rows: dict[int, dict[str, list[str]]] = defaultdict(dict)
    for group in assets:
        rows[depth(group)][group] = assets[group]
    return [rows[number] for number in sorted(rows)]
