"""What made-up items, places and people are called."""

from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True)
class Design:
    """What an item may be: its name, the code that its SKU begins with, its category, and what one is worth."""

    name: str
    code: str
    branch: str
    category: str
    cents: int


# Branch, category, code, noun, adjectives, sizes, cents.
_KINDS = """
Tools; Drills; DRILL; drill; Cordless, Hammer, Compact, Angle; 12 V, 18 V, 36 V; 12900
Tools; Drivers; DRIVER; screwdriver; Cordless, Torque, Precision; 3.6 V, 12 V, 18 V; 7900
Tools; Saws; SAW; saw; Circular, Mitre, Cordless, Table; 165 mm, 190 mm, 254 mm; 18900
Tools; Grinders; GRIND; grinder; Angle, Bench, Straight; 115 mm, 125 mm, 230 mm; 9900
Tools; Sanders; SAND; sander; Belt, Orbital, Delta; 125 mm, 150 mm, 75 x 533; 11900
Tools; Hand tools; SPANN; spanner; Open, Ring, Adjustable, Torque; 8 mm, 13 mm, 24 mm; 1900
Tools; Ladders; LADDER; ladder; Folding, Extension, Step, Platform; 2 m, 3.5 m, 6 m; 15900
Tools; Compressors; COMPR; compressor; Silent, Portable, Upright; 24 l, 50 l, 100 l; 29900
Garden; Mowers; MOWER; mower; Battery, Petrol, Robotic; 33 cm, 41 cm, 53 cm; 34900
Garden; Hedge trimmers; TRIM; trimmer; Hedge, Grass, Battery; 45 cm, 60 cm, 75 cm; 13900
Garden; Pressure washers; WASH; washer; Pressure, Cold, Hot; 110 bar, 140 bar, 180 bar; 25900
Media; Cameras; CAM; camera; Digital, Mirrorless, Compact, Action; 20 MP, 24 MP, 45 MP; 89900
Media; Lenses; LENS; lens; Wide, Zoom, Portrait, Macro; 24 mm, 50 mm, 70-200 mm; 64900
Media; Tripods; TRIPOD; tripod; Carbon, Travel, Video; 1.4 m, 1.6 m, 1.9 m; 14900
Media; Projectors; PROJ; projector; Laser, Portable, Short-throw; 2000 lm, 3500 lm, 6000 lm; 79900
Media; Microphones; MIC; microphone; Wireless, Condenser, Dynamic; XLR, USB, 2.4 GHz; 16900
Media; Loudspeakers; SPEAK; loudspeaker; Active, Portable, Passive; 8 in, 12 in, 15 in; 32900
Media; Lights; LIGHT; light; Studio, Panel, Work; 30 W, 60 W, 200 W; 12900
Computing; Laptops; LAPTOP; laptop; Light, Rugged, Graphics; 13 in, 14 in, 16 in; 119900
Computing; Tablets; TABLET; tablet; Rugged, Drawing, Small; 8 in, 10 in, 12 in; 49900
Computing; Monitors; MON; monitor; Curved, Wide, Portable; 24 in, 27 in, 34 in; 27900
Computing; Cables; CABLE; cable; HDMI, USB-C, Network, Audio; 1 m, 2 m, 5 m, 10 m; 1200
Computing; Boards; BOARD; board; Microcontroller, Single, Relay; 8 bit, 32 bit, 64 bit; 3900
Laboratory; Microscopes; SCOPE; microscope; Stereo, Digital, Compound; 40x, 400x, 1000x; 45900
Laboratory; Balances; BAL; balance; Analytical, Pocket, Bench; 200 g, 500 g, 2 kg; 38900
Laboratory; Multimeters; METER; multimeter; Digital, Bench, Clamp; 600 V, 1000 V, 4.5 digits; 8900
Laboratory; Oscilloscopes; OSC; oscilloscope; Digital, Handheld, Mixed; 50 MHz, 100 MHz, 350 MHz; 59900
Laboratory; Power supplies; POWER; supply; Bench, Programmable, Switching; 30 V, 60 V, 120 V; 21900
Laboratory; Glassware; FLASK; flask; Conical, Volumetric, Round; 100 ml, 250 ml, 1 l; 900
Outdoor; Tents; TENT; tent; Dome, Tunnel, Light; 2 people, 4 people, 6 people; 24900
Outdoor; Backpacks; PACK; backpack; Trekking, Day, Alpine; 25 l, 45 l, 70 l; 11900
Outdoor; Sleeping bags; SLEEP; bag; Down, Winter, Summer; -10 C, 0 C, 10 C; 13900
Outdoor; Kayaks; KAYAK; kayak; Touring, Inflatable, River; 3 m, 4.2 m, 5 m; 69900
Outdoor; Bicycles; BIKE; bicycle; Cargo, Folding, Trekking; S, M, L; 99900
Events; Chairs; CHAIR; chair; Folding, Stacking, Upholstered; black, grey, beech; 3900
Events; Tables; TABLE; table; Folding, Round, High; 80 cm, 120 cm, 180 cm; 8900
Events; Gazebos; GAZEBO; gazebo; Folding, Party, Market; 3 x 3 m, 3 x 6 m, 4 x 8 m; 39900
Books; Textbooks; BOOK; textbook; Physics, Chemistry, Biology, History; year 7, year 9, year 11; 2900
Games; Board games; GAME; game; Strategy, Family, Party; 2 players, 4 players, 8 players; 3500
Music; Guitars; GUITAR; guitar; Classical, Electric, Bass; 3/4, 4/4, 7 strings; 32900
"""


def _designs(kind: str) -> list[Design]:
    branch, category, code, noun, adjectives, sizes, cents = kind.split("; ")
    return [
        Design(f"{adjective} {noun} {size}", code, branch, category, int(cents))
        for adjective, size in product(adjectives.split(", "), sizes.split(", "))
    ]


DESIGNS = tuple(design for kind in _KINDS.split("\n") if kind for design in _designs(kind))

MAKERS = (
    "Alder", "Brandt", "Corvo", "Dahlin", "Eskel", "Fenwick", "Garnet", "Halvor", "Ibex", "Jarno", "Kestrel",
    "Lindqvist", "Marlow", "Norvik", "Orbis", "Pallas", "Quarto", "Rowan", "Sable", "Tervo", "Umbra", "Vantor",
    "Weller", "Zephyr",
)  # fmt: skip

HALLS, ROWS, SHELVES = 4, 6, 10
"""Halls of a site, rows of a hall, shelves of a row; each is a location."""

GIVEN_NAMES = (
    "Ada", "Amir", "Anna", "Aylin", "Ben", "Bruno", "Carla", "Chen", "Clara", "Daniel", "Elif", "Emil", "Emma",
    "Farah", "Felix", "Grace", "Hana", "Hugo", "Ines", "Ivan", "Jana", "Jonas", "Kofi", "Lara", "Leon", "Lina",
    "Luca", "Maja", "Marco", "Mei", "Mila", "Nadia", "Noah", "Nora", "Omar", "Oskar", "Paula", "Pedro", "Rosa",
    "Samir", "Sofia", "Tom", "Uma", "Vera", "Victor", "Wanda", "Yusuf", "Zoe",
)  # fmt: skip
FAMILY_NAMES = (
    "Abbott", "Andersen", "Baker", "Bauer", "Becker", "Bianchi", "Carter", "Costa", "Demir", "Dubois", "Evans",
    "Fischer", "Garcia", "Hansen", "Haddad", "Ivanova", "Jansen", "Kaya", "Keller", "Kim", "Kowalski", "Larsen",
    "Lopez", "Meyer", "Mensah", "Moreau", "Nakamura", "Novak", "Okafor", "Olsen", "Patel", "Peeters", "Quinn",
    "Rossi", "Santos", "Schmidt", "Silva", "Singh", "Suzuki", "Taylor", "Turner", "Varga", "Virtanen", "Walker",
    "Wang", "Weber", "Yilmaz", "Zhang",
)  # fmt: skip
