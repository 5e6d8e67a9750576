"""What lies on the bench for one batch of the story: items, lots, serials and expiry dates as labels.scan_label takes
them.

The GTINs and codes are those of recipes/car-t-demo.toml, from the range that GS1 keeps for demonstrations (952).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hil_tests import labels

CARTRIDGE = labels.gtin("0952000001001")
BUFFER = labels.gtin("0952000001002")
VECTOR = labels.gtin("0952000001003")
FILTER = "A99912345670"  # A999 is the labeler code that HIBC examples use


@dataclass(frozen=True)
class Materials:
    """What lies on the bench for one batch. today_ms: the day that the demonstration shows."""

    number: int
    today_ms: int

    @property
    def batch(self) -> str:
        return f"B-{self._year}-{self.number:04d}"

    @property
    def donor_code(self) -> str:
        """A donation identification number in its ISBT 128 structure: data identifier, 13 characters, two flags."""
        return f"=A9999{self._year % 100:02d}{self.number:06d}00"

    @property
    def cartridge(self) -> str:
        return f"[01]{CARTRIDGE}[17]{self._expiry(200)}[21]C{self.number:05d}"

    @property
    def buffer(self) -> str:
        return f"[01]{BUFFER}[17]{self._expiry(300)}[10]WB-{self.number:04d}"

    @property
    def expired_buffer(self) -> str:
        return f"[01]{BUFFER}[17]{self._expiry(-40)}[10]WB-0001"

    @property
    def filter(self) -> str:
        """A HIBC label: labeler, product and unit of measure, then expiry and lot."""
        return f"+{FILTER}/$$3{self._expiry(400)}WF{self.number:04d}"

    @property
    def bag(self) -> str:
        """A label of the site's own."""
        return f"HB-{self.number:04d}-A"

    @property
    def old_bag(self) -> str:
        """A label of the series before, which the recipe's pattern does not know."""
        return f"HARVEST-{self.number:04d}"

    @property
    def vector(self) -> str:
        return f"[01]{VECTOR}[17]{self._expiry(90)}[10]{self.vector_lot}"

    @property
    def vector_lot(self) -> str:
        return f"LV-{self.number:04d}"

    @property
    def _year(self) -> int:
        return datetime.fromtimestamp(self.today_ms / 1000, UTC).year

    def _expiry(self, days: int) -> str:
        return f"{datetime.fromtimestamp(self.today_ms / 1000, UTC) + timedelta(days=days):%y%m%d}"
