"""One CSV file as text cells with their line numbers; written whole or not at all."""

import csv
import io
import os
from dataclasses import dataclass, field
from pathlib import Path

from energy_etl.portfolio.problem import Problem


@dataclass
class CsvFile:
    """Header and rows of one file.

    Attributes:
        path: the file.
        header: its column names.
        rows: (line number, column -> cell without blanks around it); empty lines are left out.
        problems: what is no CSV of this form; rows that cannot be read are not in `rows`.
    """

    path: Path
    header: list[str] = field(default_factory=list)
    rows: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> "CsvFile":
        """Read a file that is there; what is wrong with it goes to `problems`."""
        found = cls(path)
        try:
            # Spreadsheets put a byte order mark in front.
            content = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            message = f"{path.name}: byte {error.start} is not UTF-8: save the file as UTF-8."
            found.problems.append(Problem(path.name, 0, "", message))
            return found
        reader = csv.reader(io.StringIO(content, newline=""), strict=True)
        try:
            for cells in reader:
                found._take(reader.line_num, [cell.strip() for cell in cells])
        except csv.Error as error:
            found._refuse(reader.line_num, f"{error}: mend the quotes in that line")
        return found

    def write(self) -> None:
        """Replace the file by this header and these rows."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.header)
        writer.writerows([row.get(name, "") for name in self.header] for _, row in self.rows)
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        try:
            temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
            os.replace(temporary, self.path)
        finally:
            temporary.unlink(missing_ok=True)

    def _take(self, line: int, cells: list[str]) -> None:
        if not any(cells):
            return
        if not self.header:
            self.header = cells
            return
        if len(cells) != len(self.header):
            self._refuse(
                line,
                f"{len(cells)} cells where the header has {len(self.header)}: separate them by"
                " commas, and quote a cell with a comma",
            )
            return
        self.rows.append((line, dict(zip(self.header, cells, strict=True))))

    def _refuse(self, line: int, message: str) -> None:
        name = self.path.name
        self.problems.append(Problem(name, line, "", f"{name} line {line}: {message}."))
