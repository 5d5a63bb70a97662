"""What readers ask about: real topics with keywords, compounds and invented names.

Public entry point: `draw_topic(rng, held_out)`.

The model must learn to *copy* the topic of a question into its answer. A list
of real topics alone teaches it to recite that list, so about a third of the
topics are invented words which only copying can get right. Invented words occur
as topics only; the keywords that answers mention are always real words.
"""

from dataclasses import dataclass, field, replace


@dataclass
class Topic:
    """One thing a question can be about."""

    name: str
    room: str = "main hall"
    database: str = "General Index"
    keywords: list[str] = field(default_factory=list)
    invented: bool = False

    def is_plural(self):
        """Whether "are" agrees with the name ("volcanoes are", "chess is")."""
        last = self.name.split(" of ")[0].split()[-1]
        return last.endswith("s") and last not in SINGULAR_IN_S


def draw_topic(rng, held_out):
    """A random topic, only from the held-out ones or never from them."""
    kind = rng.random()
    if kind < 0.38:
        topic = _draw_real(rng, held_out)
    elif kind < 0.68 or held_out:
        topic = _draw_compound(rng, held_out)
    else:
        topic = _draw_invented(rng)
    if rng.random() < 0.2:
        aspect = rng.choice(ASPECTS)
        topic = replace(topic, name=f"{aspect} {topic.name}")
    return topic


def _draw_real(rng, held_out):
    return rng.choice([topic for topic in REAL if (topic.name in HELD_OUT_REAL) == held_out])


def _draw_compound(rng, held_out):
    noun = rng.choice([noun for noun in NOUNS if (noun in HELD_OUT_NOUNS) == held_out])
    if rng.random() < 0.2:
        return Topic(noun)
    return Topic(f"{rng.choice(ADJECTIVES)} {noun}")


def _draw_invented(rng):
    word = _invented_word(rng)
    shape = rng.random()
    if shape < 0.45:
        name = word
    elif shape < 0.65:
        name = f"{rng.choice(ADJECTIVES)} {word}"
    elif shape < 0.88:
        name = f"{word} {rng.choice([noun for noun in NOUNS if noun not in HELD_OUT_NOUNS])}"
    else:
        name = f"the {word}"
    return Topic(name, invented=True)


def _invented_word(rng):
    syllables = rng.choices([1, 2, 3], [4, 6, 1])[0]
    word = ""
    for position in range(syllables):
        word += rng.choice(ONSETS) + rng.choice(VOWELS)
        if position == syllables - 1 or rng.random() < 0.3:
            word += rng.choice(CODAS)
    return word + rng.choice(ENDINGS)


# Each field of knowledge: room | database | topic: three keywords; topic: ...
FIELDS = """
green room|Field Index|honey bees: hives, pollen, wax; whales: songs, migration, oceans; coral reefs: fish, algae, lagoons; mushrooms: spores, soil, forests; migrating birds: routes, nests, weather; oak trees: acorns, bark, forests; spiders: webs, silk, prey; wolves: packs, forests, hunting; butterflies: wings, meadows, flowers; garden plants: seeds, soil, flowers; horses: stables, riding, breeding; sharks: teeth, oceans, fins; owls: feathers, night, nests
map room|Earth Abstracts|volcanoes: lava, ash, craters; earthquakes: faults, waves, plates; glaciers: ice, valleys, rivers; rivers: floods, deltas, banks; deserts: dunes, heat, wells; tides: the moon, harbours, currents; clouds: rain, storms, fog; climate change: carbon, ice, heat; mountains: summits, snow, valleys; islands: coasts, harbours, ferries; caves: bats, water, darkness; thunderstorms: lightning, rain, wind
north gallery|Sky Catalogue|comets: dust, orbits, tails; black holes: gravity, light, stars; the moon: craters, tides, phases; telescopes: lenses, mirrors, domes; space travel: rockets, crews, orbits; planets: orbits, rings, moons; the sun: light, heat, eclipses; northern lights: magnetism, winter, colours
science hall|Science Finder|magnetism: iron, fields, compasses; electricity: wires, charge, batteries; vaccines: doses, trials, antibodies; the human heart: valves, blood, pulse; sleep: dreams, rhythm, rest; bones: joints, calcium, marrow; nutrition: vitamins, protein, diets; epidemics: towns, doctors, quarantine; probability: dice, odds, samples; geometry: lines, angles, circles; prime numbers: factors, proofs, sequences; chemistry: atoms, acids, metals; atoms: electrons, energy, charge; dinosaurs: fossils, bones, deserts; evolution: species, fossils, islands
technology hall|Engineering File|secret codes: keys, ciphers, messages; computers: memory, chips, programs; robots: sensors, motors, factories; bridges: arches, cables, spans; railways: engines, stations, tracks; clocks: springs, pendulums, gears; printing: type, ink, presses; steam engines: boilers, pistons, coal; windmills: sails, grain, gears; radio: signals, antennas, stations; solar power: panels, roofs, light; canals: locks, boats, tolls; lighthouses: lamps, coasts, keepers; aircraft: wings, engines, pilots; submarines: hulls, engines, depth; bicycles: wheels, chains, roads
old wing|History Abstracts|medieval trade: guilds, fairs, wool; the roman army: legions, roads, camps; ancient egypt: pyramids, scribes, tombs; vikings: ships, raids, sagas; castles: towers, moats, walls; pirates: ships, ports, treasure; the silk road: caravans, silk, markets; the plague: rats, towns, burials; the french revolution: crowds, taxes, assemblies; knights: armour, horses, oaths; explorers: maps, ships, journals; local history: parishes, maps, families; family trees: records, births, names; shipwrecks: storms, divers, cargo; old coins: silver, kings, mints; the post: stamps, letters, roads
reference room|Law and Economy File|voting rights: elections, reforms, citizens; constitutions: rights, courts, articles; copyright: authors, licences, copies; contracts: parties, terms, signatures; juries: trials, verdicts, evidence; taxation: income, budgets, reforms; inflation: prices, wages, money; banking: loans, deposits, interest; trade unions: strikes, wages, members; recycling: paper, glass, waste; street markets: stalls, prices, goods; housing: rents, builders, towns
west wing|Craft Register|fishing: nets, boats, harbours; weaving: looms, thread, patterns; pottery: clay, kilns, glazes; bread baking: flour, yeast, ovens; cheese making: milk, salt, cellars; gardening: soil, seeds, tools; carpentry: saws, joints, timber; knitting: yarn, needles, patterns; bookbinding: thread, leather, glue; glass blowing: furnaces, sand, pipes; tea: leaves, trade, cups; coffee: beans, roasting, cups; wool: sheep, spinning, cloth; salt: mines, trade, taxes; beekeeping: hives, smoke, honey; cooking: recipes, spices, ovens; chocolate: beans, sugar, trade; candles: wax, wicks, light
arts room|Arts Index|photography: film, lenses, light; watercolour painting: paper, brushes, colour; opera: singers, stages, scores; jazz: rhythm, solos, bands; folk songs: verses, melodies, singers; ballet: dancers, stages, steps; sculpture: stone, bronze, chisels; poetry: verses, rhyme, images; detective novels: clues, suspects, plots; fairy tales: wolves, forests, spells; film music: themes, scores, scenes; cave paintings: colour, animals, caves; myths: gods, heroes, monsters; cathedrals: stone, glass, arches; museums: collections, labels, visitors; the violin: strings, bows, wood; puppets: strings, stages, masks; comics: drawings, heroes, jokes
quiet room|Language Archive|dialects: vowels, regions, speakers; dictionaries: entries, meanings, editors; translation: meaning, style, readers; alphabets: letters, sounds, scripts; sign language: gestures, grammar, schools; handwriting: pens, ink, letters; memory: recall, learning, age; dreams: sleep, symbols, stories; child development: play, speech, families; friendship: trust, loyalty, letters; habits: cues, rewards, routines; ethics: duty, choice, virtue; logic: proofs, rules, puzzles; maps: scales, borders, symbols; proverbs: sayings, regions, wisdom
club room|Sports and Games Index|chess: openings, kings, pawns; football: clubs, goals, leagues; cycling: wheels, roads, races; swimming: strokes, pools, breath; mountain climbing: ropes, summits, camps; card games: suits, tricks, bets; sailing: sails, knots, harbours; running: shoes, races, breath; puzzles: clues, riddles, patience; magic tricks: cards, mirrors, coins
"""

HELD_OUT_REAL = set(
    "whales,owls,comets,the silk road,steam engines,jazz,pottery,banking,juries,dialects,chess,bones,"
    "lighthouses,memory,castles,dinosaurs,bicycles,chocolate,caves,sailing,the violin,pirates".split(",")
)

ADJECTIVES = (
    "early|modern|northern|southern|coastal|rural|urban|industrial|royal|wooden|iron|painted|lost|secret|famous|"
    "forgotten|traditional|local|foreign|ancient|public|private|military|scientific|tropical|arctic|alpine|wild|"
    "rare|giant|small|portable|mechanical|digital|electric|popular|classical|underground|cheap|eastern|western|old"
).split("|")

NOUNS = (
    "gardens|schools|hospitals|ships|harbours|forests|farms|roads|tunnels|towers|palaces|temples|theatres|festivals|"
    "newspapers|letters|songs|dances|costumes|furniture|instruments|drums|pianos|paintings|statues|stamps|weapons|"
    "armies|navies|mines|mills|factories|workshops|markets|shops|inns|kitchens|recipes|medicines|herbs|poisons|"
    "insects|beetles|ants|bears|foxes|eagles|dogs|cats|cattle|sheep|turtles|frogs|snakes|flowers|grasses|orchards|"
    "wines|spices|fruits|vegetables|grains|rocks|minerals|crystals|metals|storms|winds|lakes|valleys|wells|pumps|"
    "balloons|satellites|cameras|mirrors|lamps|toys|dolls|sports|prisons|courts|elections|treaties|wars|strikes|"
    "loans|debts|charities|monasteries|rituals|legends|ghost stories|novels|plays|poems|archives|universities|"
    "teachers|students|doctors|lawyers|merchants|sailors|soldiers|farmers|miners|weavers|printers|painters|"
    "composers|philosophers|astronomers|engineers|inventors|travellers|weddings|clothes|shoes|hats|jewels|fabrics|"
    "dyes|papers|inks|manuscripts|calendars|experiments|languages|accents|"
    "dams|violins|fossils|diaries|nurses|vineyards|rockets|carpets|surveys|parrots|fountains|trams|kites|umbrellas"
).split("|")
HELD_OUT_NOUNS = set(NOUNS[-14:])

ASPECTS = (
    "the history of|the economics of|the science of|the origins of|the design of|the future of|myths about|"
    "laws about|the language of|the everyday life of|the politics of|the art of|debates about|the teaching of"
).split("|")

SINGULAR_IN_S = {"chess", "ethics", "physics", "economics", "politics", "glass", "tennis", "furniture"}

ONSETS = (
    "b|br|c|ch|cl|cr|d|dr|f|fl|fr|g|gl|gr|h|j|k|l|m|n|p|pl|pr|qu|r|s|sc|sh|sk|sl|sm|sn|sp|st|str|sw|t|th|tr|tw|v|w|y|z||"
).split("|")
VOWELS = "a|e|i|o|u|ai|ea|ee|oa|oo|ou|au|a|e|i|o".split("|")
CODAS = "b|ck|ct|d|ft|g|l|ld|ll|m|mp|n|nd|ng|nk|nt|p|r|rd|rk|rn|rt|s|sh|st|t|th|x|||||".split("|")
ENDINGS = "|||||s|er|ing|ism|ics|ity|ology|ment|al|ia|ium|ory|ure|ship|land|house|craft".split("|")


def _read_fields():
    topics = []
    for line in FIELDS.strip().split("\n"):
        room, database, entries = line.split("|")
        for entry in entries.split("; "):
            name, keywords = entry.split(": ")
            topics.append(Topic(name, room, database, keywords.split(", ")))
    return topics


REAL = _read_fields()
