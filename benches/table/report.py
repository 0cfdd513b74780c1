"""Figures of all rounds, and the tables that they make."""

import statistics
from collections import defaultdict

from measure import Figure

NONE, FAILED = "-", "failed"


class Results:
    """Figures by table, row and peer, one for each round."""

    def __init__(self):
        self.figures = defaultdict(dict)
        self.failed = set()
        # The rows of each table and its columns, in the order of the suites.
        self.rows, self.peers = defaultdict(list), defaultdict(list)

    def expect(self, table, rows, peers):
        for known, new in ((self.rows[table], rows), (self.peers[table], peers)):
            known += [one for one in new if one not in known]

    def add(self, table, row, peer, round_, figure):
        self.figures[table, row, peer][round_] = figure

    def fail(self, table, row, peer):
        self.failed.add((table, row, peer))

    def of(self, table, row, peer):
        """The figure with the medians of all rounds."""
        figures = self.figures.get((table, row, peer), {}).values()
        if not figures:
            return None
        costs = [figure.cost for figure in figures if figure.cost is not None]
        limited = sum(figure.limited for figure in figures) * 2 > len(figures)
        cost = statistics.median(costs) if costs else None
        return Figure(statistics.median(figure.value for figure in figures), cost, limited)

    def cell(self, table, row, peer):
        figure = self.of(table, row, peer)
        if figure is None:
            return FAILED if (table, row, peer) in self.failed else NONE
        cell = short(figure.value) + ("*" if figure.limited else "")
        return cell if figure.cost is None else f"{cell} ({short(figure.cost)})"

    def ratio(self, table, row, peer, base):
        """Medians of the ratios of two peers within each round; of the value also the smallest and the largest."""
        ours, theirs = (self.figures.get((table, row, one), {}) for one in (peer, base))
        pairs = [(ours[number], theirs[number]) for number in ours if number in theirs]
        values = [a.value / b.value for a, b in pairs if b.value]
        costs = [a.cost / b.cost for a, b in pairs if a.cost is not None and b.cost]
        if not values:
            return NONE
        cell = f"{statistics.median(values):.2f}"
        if len(values) > 1:
            cell += f" [{min(values):.2f}-{max(values):.2f}]"
        return cell + (f" ({statistics.median(costs):.2f})" if costs else "")

    def raw(self):
        """All figures, for other programs."""
        return [
            {"table": table, "row": row, "peer": peer, "round": number, "value": figure.value, "cost": figure.cost,
             "limited": figure.limited}
            for (table, row, peer), rounds in self.figures.items() for number, figure in sorted(rounds.items())
        ]


def short(value):
    """Three digits, with a k for thousands from 10 000."""
    size = abs(value)
    if size >= 9_999.5:
        return f"{value / 1000:.0f}k" if size >= 99_950 else f"{value / 1000:.1f}k"
    if size >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"


def markdown(heads, rows):
    """A table whose columns are as wide as their cells; the first one on the left, the others on the right."""
    widths = [max(len(cell) for cell in column) for column in zip(heads, *rows)]

    def line(cells):
        first, *others = [cell.ljust(width) if n == 0 else cell.rjust(width)
                          for n, (cell, width) in enumerate(zip(cells, widths))]
        return f"| {' | '.join([first, *others])} |"

    rule = "|".join("-" * (width + 2) if n == 0 else "-" * (width + 1) + ":" for n, width in enumerate(widths))
    return "\n".join([line(heads), f"|{rule}|", *map(line, rows)])


def table(results, name, title_of):
    """The rows of a table with a column for each peer, and one for the ratio to the baseline if it takes part."""
    peers = [peer for peer in results.peers[name]]
    compares = "ours" in peers and "baseline" in peers
    heads, rows = [name], [[row] for row in results.rows[name]]
    for peer in peers:
        heads.append(title_of(peer))
        for cells in rows:
            cells.append(results.cell(name, cells[0], peer))
        if compares and peer == "baseline":
            heads.append("ours / baseline")
            for cells in rows:
                cells.append(results.ratio(name, cells[0], "ours", "baseline"))
    return markdown(heads, rows)
