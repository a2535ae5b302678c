"""Names, addresses and telephone numbers that look right and belong to nobody.

The town does not exist, its PIN code begins with 0 (real ones begin with 1-9), and every telephone
number begins with 0 after +91: no Indian subscriber's number does, because 0 is the trunk prefix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pymilk.demo.chance import Dice

TOWN: Final = "Dugdhapur 000 001"

GIVEN_NAMES: Final = (
    *("Aarti", "Ajay", "Amit", "Anil", "Anita", "Archana", "Arun", "Asha", "Ashok", "Deepak"),
    *("Dinesh", "Farida", "Ganesh", "Geeta", "Gopal", "Harish", "Hema", "Imran", "Jaya", "Jyoti"),
    *("Kavita", "Kiran", "Lata", "Madhav", "Mahesh", "Manisha", "Meena", "Mohan", "Nandini"),
    *("Naresh", "Nasreen", "Nilesh", "Nirmala", "Padma", "Pooja", "Prakash", "Pramod", "Rajesh"),
    *("Rekha", "Sachin", "Sanjay", "Seema", "Shabnam", "Shanta", "Sunil", "Sunita", "Suresh"),
    *("Usha", "Vandana", "Vijay", "Vinod", "Yusuf"),
)
SURNAMES: Final = (
    *("Agarwal", "Bhosale", "Chavan", "Deshmukh", "Deshpande", "D'Souza", "Gaikwad", "Gupta"),
    *("Iyer", "Jadhav", "Jain", "Joshi", "Kale", "Khan", "Kulkarni", "Mehta", "More", "Naik"),
    *("Pai", "Patel", "Patil", "Pawar", "Rao", "Reddy", "Shah", "Sharma", "Shaikh", "Shinde"),
    *("Verma", "Yadav"),
)
SHOPS: Final = (
    *("Shree Annapurna Tea Stall", "Gokul Sweets", "Hotel Suruchi", "Om Sai Snacks Centre"),
    *("Saraswati Girls' Hostel", "Navjeevan Clinic Canteen", "Krishna Bakery", "Udupi Upahar"),
)
# By route: the first round keeps to the old town, the second crosses the canal.
LOCALITIES: Final = (
    ("Surabhi Nagar", "Old Bazaar", "Temple Road", "Station Road"),
    ("Kamdhenu Colony", "Canal Side", "Shivaji Park", "Teachers' Society"),
)
BUILDINGS: Final = (
    *("Nandini Residency", "Shanti Kunj", "Sai Darshan", "Ganga Apartments", "Tulsi Vihar"),
    *("Anand Niwas", "Gulmohar Heights", "Sukh Sagar"),
)


def people(dice: Dice, count: int) -> list[str]:
    """So many full names, no two the same."""
    names: dict[str, None] = {}
    while len(names) < count:
        names[f"{dice.pick(GIVEN_NAMES)} {dice.pick(SURNAMES)}"] = None
    return list(names)


def home_address(dice: Dice, route: int) -> str:
    """A flat in a building on this route (0 or 1)."""
    wing, flat = dice.pick("ABCD"), 100 * (1 + dice.below(4)) + 1 + dice.below(8)
    return f"{wing}-{flat}, {dice.pick(BUILDINGS)}, {dice.pick(LOCALITIES[route])}, {TOWN}"


def shop_address(dice: Dice, route: int) -> str:
    """A shop front on this route (0 or 1)."""
    return f"Shop {1 + dice.below(60)}, {dice.pick(LOCALITIES[route])}, {TOWN}"


def phone(number: int) -> str:
    """The telephone number of this rank (0 to 999 in the dairy as it is), in Indian grouping."""
    digits = f"{number:010d}"
    return f"+91 {digits[:5]} {digits[5:]}"
