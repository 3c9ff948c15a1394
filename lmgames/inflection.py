"""English inflection by rule and table, for words that nobody has checked by hand: no download, no language package.

`inflections_by_rule` gives a form too many rather than one too few where the spelling does not tell (visited, visitted).
"""

import re
from functools import cache


def word_set(text: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(text.split())


# A semicolon or a new line ends a verb: its base, then the forms that regular spelling (-s, -ing) does not give.
_IRREGULAR_VERBS = """
be am is are was were been; have has had; do does did done; go goes went gone; say said; make made; know knew known
take took taken; see saw seen; come came; think thought; give gave given; find found; tell told; become became
leave left; feel felt; put; bring brought; begin began begun; keep kept; hold held; write wrote written; stand stood
hear heard; let; mean meant; set; meet met; run ran; pay paid; sit sat; speak spoke spoken; lie lay lain lying; lead led
read; grow grew grown; lose lost; fall fell fallen; send sent; build built; understand understood; draw drew drawn
break broke broken; spend spent; cut; rise rose risen; drive drove driven; buy bought; wear wore worn; choose chose chosen
seek sought; throw threw thrown; catch caught; deal dealt; win won; forget forgot forgotten; lay laid; sell sold
fight fought; bear bore borne born; teach taught; eat ate eaten; sing sang sung; strike struck stricken; hang hung
shake shook shaken; ride rode ridden; feed fed; shoot shot; drink drank drunk; hit; hurt; fly flew flown; sleep slept
swim swam swum; blow blew blown; burst; dig dug; freeze froze frozen; hide hid hidden; ring rang rung; shine shone
shut; sink sank sunk sunken; slide slid; spin spun; spread; steal stole stolen; stick stuck; sting stung; swear swore sworn
sweep swept; swing swung; tear tore torn; wake woke woken; weave wove woven; weep wept; wind wound; bite bit bitten
bleed bled; breed bred; burn burnt; cling clung; cost; creep crept; dream dreamt; flee fled; forbid forbade forbidden
forgive forgave forgiven; grind ground; kneel knelt; knit; lean leant; leap leapt; learn learnt; lend lent; light lit
mow mown; quit; sew sewn; shed; shrink shrank shrunk shrunken; smell smelt; sow sown; spell spelt; spill spilt; spit spat
split; spoil spoilt; spring sprang sprung; stride strode stridden; string strung; swell swollen; cast; bet; bid; bind bound
show shown; saw sawn; shave shaven; tread trod trodden; undo undid undone; wring wrung; awake awoke awoken; dwell dwelt
"""
_IRREGULAR_NOUNS = """
man men; woman women; child children; person people; foot feet; tooth teeth; goose geese; mouse mice; louse lice; ox oxen
die dice; penny pence; leaf leaves; loaf loaves; half halves; calf calves; knife knives; life lives; wife wives
wolf wolves; shelf shelves; self selves; elf elves; thief thieves; scarf scarves; hoof hooves; wharf wharves; dwarf dwarves
cactus cacti; fungus fungi; nucleus nuclei; radius radii; stimulus stimuli; alumnus alumni; syllabus syllabi
octopus octopodes octopi; hippopotamus hippopotami; analysis analyses; axis axes; basis bases; crisis crises; oasis oases
thesis theses; hypothesis hypotheses; diagnosis diagnoses; emphasis emphases; criterion criteria; phenomenon phenomena
datum data; medium media; bacterium bacteria; stadium stadia; aquarium aquaria; curriculum curricula; memorandum memoranda
formula formulae; larva larvae; antenna antennae; vertebra vertebrae; appendix appendices; index indices; matrix matrices
vertex vertices; corpus corpora; genus genera; quiz quizzes; gateau gateaux; plateau plateaux; bureau bureaux; beau beaux
staff staves; brother brethren
"""
_IRREGULAR_ADJECTIVES = """
good better best; bad worse worst; far farther farthest further furthest; little less least; many more most; much more most
"""
_SHORT_ADJECTIVES = word_set("""
big bright broad calm cheap clean clear close cold cool damp dark deep dim dry dull fair fast fat few fine firm flat fresh
full grand grave great green hard harsh high hot kind large late light long loud low mad mild narrow near neat new nice odd
old pale plain poor proud pure quick quiet rare raw red rich ripe rough rude sad safe sharp short sick simple slim slow
small smart smooth soft sour steep stiff still strange strict strong sweet tall tame thick thin tight tiny tough true vague
warm weak wet white wide wild wise young black blue brown grey gray brave
""")
_SPELLINGS = """
color colour; flavor flavour; harbor harbour; labor labour; neighbor neighbour; honor honour; humor humour; odor odour
rumor rumour; vapor vapour; armor armour; favor favour; behavior behaviour; parlor parlour; savior saviour
center centre; theater theatre; meter metre; liter litre; fiber fibre; caliber calibre; saber sabre; specter spectre
gray grey; tire tyre; mold mould; plow plough; donut doughnut; yogurt yoghurt; catalog catalogue; dialog dialogue
program programme; pajama pyjama; pajamas pyjamas; jewelry jewellery; aluminum aluminium; airplane aeroplane; ax axe
mustache moustache; whiskey whisky; defense defence; offense offence; license licence; check cheque; curb kerb; cozy cosy
skeptic sceptic; sulfur sulphur; draft draught; gram gramme; omelet omelette; ketchup catsup; enclosure inclosure
organize organise; realize realise; recognize recognise; analyze analyse; apologize apologise; traveler traveller
"""
_ONE_SYLLABLE_CVC = re.compile(r"[^aeiouy]*(?:qu)?[aeiouy][^aeiouywx]")
_CVC_END = re.compile(r".*[^aeiou](?:qu)?[aeiou][^aeiouywx]")
_OWN_WORDS = word_set("""
ground found left rose felt wound bound bore thought spoke fell shot dice better stood lit cast media data people
""")
"""Inflected forms that are words of their own: as a target, "rose" is the flower and not the past of "rise"."""
_VOWELS = "aeiou"


def _groups(table: str) -> list[list[str]]:
    return [line.split() for line in table.replace("\n", ";").split(";") if line.strip()]


@cache
def _irregular() -> dict[str, list[tuple[str, ...]]]:
    """A word -> the groups of forms it belongs to: those it heads, else those that it is a form of."""
    groups = [
        tuple(group) for table in (_IRREGULAR_VERBS, _IRREGULAR_NOUNS, _IRREGULAR_ADJECTIVES) for group in _groups(table)
    ]
    headed: dict[str, list[tuple[str, ...]]] = {}
    other: dict[str, list[tuple[str, ...]]] = {}
    for group in groups:
        headed.setdefault(group[0], []).append(group)
        for form in group[1:]:
            other.setdefault(form, []).append(group)
    return {**{form: found for form, found in other.items() if form not in _OWN_WORDS}, **headed}


@cache
def _spellings() -> dict[str, str]:
    pairs = [(first, second) for first, second in _groups(_SPELLINGS)]
    return {**dict(pairs), **{second: first for first, second in pairs}}


def inflections_by_rule(word: str) -> tuple[str, ...]:
    """Forms of one lower-case token, itself first: plurals, verb forms, comparisons, spelling variants."""
    variants = [word] + ([_spellings()[word]] if word in _spellings() else [])
    forms: dict[str, None] = dict.fromkeys(variants)
    for variant in variants:
        groups = _irregular().get(variant, [])
        for group in groups:
            forms.update(dict.fromkeys(group))
        heads = {group[0] for group in groups} or {variant}
        for head in sorted(heads):
            forms.update(dict.fromkeys(_regular(head, is_irregular_verb=_is_irregular_verb(head))))
    return tuple(forms)


def _is_irregular_verb(word: str) -> bool:
    return any(group[0] == word for group in _groups(_IRREGULAR_VERBS))


def _regular(word: str, *, is_irregular_verb: bool) -> list[str]:
    if not word.isalpha() or len(word) < 2:
        return [word]
    forms = [_plural(word)]
    if word.endswith("o"):
        forms += [word + "s", word + "es"]
    for stem_before_vowel in _before_vowel(word):
        forms.append(stem_before_vowel + "ing")
    if not is_irregular_verb:
        forms += [stem_before_vowel + "ed" for stem_before_vowel in _before_vowel(word, y_to_i=True)]
    if word in _SHORT_ADJECTIVES or _ends_in_consonant_and_y(word):
        for stem_before_vowel in _before_vowel(word, y_to_i=True):
            forms += [stem_before_vowel + "er", stem_before_vowel + "est"]
    return forms


def _plural(word: str) -> str:
    if _ends_in_consonant_and_y(word):
        return word[:-1] + "ies"
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    return word + "s"


def _ends_in_consonant_and_y(word: str) -> bool:
    return len(word) > 2 and word.endswith("y") and word[-2] not in _VOWELS


def _before_vowel(word: str, *, y_to_i: bool = False) -> list[str]:
    """How a word is spelled before -ing and -ed: hope hop-, hop hopp-, carry carri-; both ways where stress decides."""
    if word.endswith("ie") and not y_to_i:
        return [word[:-2] + "y"]
    if word.endswith("e") and not word.endswith(("ee", "oe", "ye")):
        return [word[:-1]]
    if word.endswith("e"):
        return [word[:-1] if y_to_i else word]
    if y_to_i and _ends_in_consonant_and_y(word):
        return [word[:-1] + "i"]
    if _ONE_SYLLABLE_CVC.fullmatch(word):
        return [word + word[-1]]
    if _CVC_END.fullmatch(word):
        return [word, word + word[-1]]
    return [word]


# Words made from others.

_SUFFIXES = word_set("""
er ers or ors ness less lessly ful fully fulness ish y like ly ment ments able ist ists ism hood ship dom ery ation ations
al ic ous ee ees ette ettes let lets ling lings en ened
""")
_NOT_DERIVED = word_set("""
corner hammer early busy carry butter batter battery matter letter flower tower offer number manner dinner summer inner
pepper copper tally belly ally rally bully silly party county pony penny army body ivory colony every very fairy dairy diary
history factory cannery canary master minister monster cluster bluster blister plaster poster charter chapter quarter
starter barter barley parley planet plant plenty outer other mother brother father rather water winter wonder under
""")
"""Words that only look as if they were made from another."""


def derivations(word: str) -> frozenset[str]:
    """Words that suffixes make from a token: bank, banker; happy, happiness. By rule, so some results are no words."""
    if not word.isalpha():
        return frozenset()
    stems = {word, *_before_vowel(word), *_before_vowel(word, y_to_i=True)}
    made = {base + suffix for base in stems for suffix in _SUFFIXES}
    return frozenset(made - _NOT_DERIVED) | {"un" + word}


# Porter's stemmer: M. F. Porter, "An algorithm for suffix stripping", Program 14 (1980).

_STEP_2 = {
    "ational": "ate", "tional": "tion", "enci": "ence", "anci": "ance", "izer": "ize", "abli": "able", "alli": "al",
    "entli": "ent", "eli": "e", "ousli": "ous", "ization": "ize", "ation": "ate", "ator": "ate", "alism": "al",
    "iveness": "ive", "fulness": "ful", "ousness": "ous", "aliti": "al", "iviti": "ive", "biliti": "ble",
}  # fmt: skip
_STEP_3 = {"icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": ""}
_STEP_4 = "al ance ence er ic able ible ant ement ment ent ion ou ism ate iti ous ive ize"


def _shape(word: str) -> str:
    """The word with c for each consonant and v for each vowel; y is a vowel after a consonant."""
    shape = ""
    for letter in word:
        shape += "v" if letter in _VOWELS or (letter == "y" and shape.endswith("c")) else "c"
    return shape


def _measure(word: str) -> int:
    """How often a consonant follows a vowel: the m of [C](VC)^m[V]."""
    return len(re.findall("vc", _shape(word)))


def _ends_cvc(word: str) -> bool:
    return _shape(word).endswith("cvc") and word[-1] not in "wxy"


def _ends_double(word: str) -> bool:
    return len(word) > 1 and word[-1] == word[-2] and _shape(word).endswith("c")


def _replace_longest(word: str, table: dict[str, str]) -> str:
    for suffix in sorted(table, key=len, reverse=True):
        if word.endswith(suffix):
            base = word.removesuffix(suffix)
            return base + table[suffix] if _measure(base) > 0 else word
    return word


@cache
def stem(word: str) -> str:
    """Porter's stem of a lower-case token; tokens with other than ASCII letters are their own stem."""
    if len(word) < 3 or not (word.isascii() and word.isalpha()):
        return word
    word = _step_1(word)
    word = _replace_longest(_replace_longest(word, _STEP_2), _STEP_3)
    return _step_5(_step_4(word))


def _step_1(word: str) -> str:
    if word.endswith(("sses", "ies")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    if word.endswith("eed"):
        word = word[:-1] if _measure(word[:-3]) > 0 else word
    else:
        for suffix in ("ed", "ing"):
            if word.endswith(suffix) and "v" in _shape(word.removesuffix(suffix)):
                word = _repaired(word.removesuffix(suffix))
                break
    if word.endswith("y") and "v" in _shape(word[:-1]):
        word = word[:-1] + "i"
    return word


def _repaired(base: str) -> str:
    if base.endswith(("at", "bl", "iz")) or (_measure(base) == 1 and _ends_cvc(base)):
        return base + "e"
    return base[:-1] if _ends_double(base) and base[-1] not in "lsz" else base


def _step_4(word: str) -> str:
    for suffix in sorted(_STEP_4.split(), key=len, reverse=True):
        if word.endswith(suffix):
            base = word.removesuffix(suffix)
            allowed = suffix != "ion" or base.endswith(("s", "t"))
            return base if allowed and _measure(base) > 1 else word
    return word


def _step_5(word: str) -> str:
    if word.endswith("e"):
        base = word[:-1]
        if _measure(base) > 1 or (_measure(base) == 1 and not _ends_cvc(base)):
            word = base
    return word[:-1] if word.endswith("ll") and _measure(word) > 1 else word
