"""Which of our SKUs a supplier's product may be: suggestions for a person, who has the last word.

A month is not a quarter, 50 yuan are not 100, and a top-up is not a card: what both sides say of these must agree, or
nothing is suggested. What is left is how many of the words are the same, the rare ones counting for more.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final, NamedTuple

from shared.suppliers.supplier import Delivers, Wish

LEAD: Final = 0.05  # of the score, by which what is sure must be ahead of the next
DOUBT: Final = 0.9  # what each thing that only one side says leaves of the score
WORTH_SHOWING: Final = 0.3
SHOWN_MAX: Final = 5
LOOKED_AT_MAX: Final = 200  # SKUs that share the rarest words with a title; the right one is never further down


class Ours(NamedTuple):
    """One SKU. delivers: None where it is neither cards nor a top-up."""

    sku: str
    brand: str
    name: str
    spec: str
    delivers: Delivers | None


class Suggestion(NamedTuple):
    """score: 0 to 1. sure: nothing speaks against it, and no other SKU comes near.

    why: what agrees, and after a minus what only one side says or what can be told of one side only: ``name``,
    ``brand``, ``length``, ``region``, ``amount``, ``delivery``.
    """

    sku: str
    score: float
    sure: bool
    why: tuple[str, ...]


class Amount(NamedTuple):
    """A number and what it counts: a currency, ``gb``, ``hour``, ``piece``, or nothing that is said."""

    number: str
    unit: str


# The names under which the same thing goes; each is read as the first of its row.
_ALIASES: Final[Sequence[Sequence[str]]] = (
    ("哔哩哔哩", "b站", "bilibili", "哔哩"),
    ("腾讯视频", "企鹅视频"),
    ("爱奇艺", "iqiyi", "奇异果"),
    ("优酷", "youku"),
    ("芒果tv", "芒果", "mgtv"),
    ("网易云音乐", "网易云", "云音乐"),
    ("qq音乐", "企鹅音乐"),
    ("酷狗音乐", "酷狗", "kugou"),
    ("q币", "qb", "q点"),
    ("原神", "genshin"),
    ("任天堂", "nintendo", "switch"),
    ("playstation", "psn"),
    ("中国移动", "移动"),
    ("中国联通", "联通"),
    ("中国电信", "电信"),
    ("星巴克", "starbucks"),
    ("肯德基", "kfc"),
    ("滴滴出行", "滴滴"),
    ("微软", "microsoft"),
    ("百度网盘", "百度云", "百度盘"),
    ("苹果", "apple", "itunes"),
    ("京东", "jd"),
    ("google", "谷歌"),
    ("razer", "雷蛇"),
    ("steam", "蒸汽平台"),
    ("阿里云", "aliyun"),
    ("樊登读书", "帆书"),
    ("windows", "win"),
    ("直充", "直冲", "代充", "代冲", "官充"),
)
_CHATTER: Final = re.compile(
    r"24小时|自动发货|秒发|秒到账?|秒充|官方|正版|正品|特价|优惠|促销|热卖|热销|爆款|全国通用|通用|全国|到账|"
    r"现货|批发|快充|即时|立即|在线|网上|面值|面额"
)
_TOPS_UP: Final = re.compile(r"直充|充值到|充到")
_CARDS: Final = re.compile(r"卡密|cdkey|cdk|兑换码|激活码|序列号|充值卡|充值码|礼品卡|点卡|电子卡|实体卡")
_OF_DELIVERY: Final = re.compile(r"直充|卡密|cdkey|cdk|兑换码|激活码|序列号|充值卡|充值码|电子卡|实体卡|充值")
_REGIONS: Final[Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {
        "cn": re.compile(r"国服|国区|国行|大陆区?"),
        "hk": re.compile(r"港服|港区|港版|香港"),
        "tw": re.compile(r"台服|台区|台湾"),
        "us": re.compile(r"美服|美区|美国"),
        "jp": re.compile(r"日服|日区|日版|日本"),
        "kr": re.compile(r"韩服|韩区|韩国"),
        "eu": re.compile(r"欧服|欧区|欧洲"),
        "uk": re.compile(r"英区|英国"),
        "tr": re.compile(r"土区|土耳其"),
        "ar": re.compile(r"阿区|阿根廷"),
        "world": re.compile(r"国际服|国际版|全球"),
    }
)
_NUMBER = r"(?P<n>\d+(?:\.\d+)?)"
_UNITS: Final[Sequence[tuple[str, re.Pattern[str]]]] = (
    ("hkd", re.compile(rf"{_NUMBER}\s*(?:hkd|港币|港元)")),
    ("hkd", re.compile(rf"(?:hk\$|hkd|港币)\s*{_NUMBER}")),
    ("usd", re.compile(rf"{_NUMBER}\s*(?:usd|美元|美金|刀)")),
    ("usd", re.compile(rf"(?:us\$|usd|\$)\s*{_NUMBER}")),
    ("jpy", re.compile(rf"{_NUMBER}\s*(?:jpy|日元|円)")),
    ("cny", re.compile(rf"{_NUMBER}\s*(?:cny|rmb|元|块)")),
    ("cny", re.compile(rf"(?:¥|rmb|cny)\s*{_NUMBER}")),
    ("gb", re.compile(rf"{_NUMBER}\s*gb?(?![a-z])")),
    ("hour", re.compile(rf"{_NUMBER}\s*小时")),
    ("piece", re.compile(rf"{_NUMBER}\s*(?:点券|点|个|枚|颗|钻|张|份|(?=q币))")),
    ("piece", re.compile(rf"(?<=q币)\s*{_NUMBER}(?!\d|元)")),
    ("", re.compile(_NUMBER)),
)
_MONEY: Final = frozenset({"hkd", "usd", "jpy", "cny"})
_SPOKEN: Final = {"一": 1, "两": 2, "二": 2, "三": 3, "六": 6, "十二": 12}
_COUNT = r"(?P<n>\d+|十二|[一两二三六])"
# Of what has words of its own for one: then a number before a blank is as likely the end of the name.
_FEW = r"(?<!\d)(?P<n>[1-9]\d?|十二|[一两二三六])"
_DAY, _WEEK, _MONTH, _QUARTER, _HALF, _YEAR = 1, 7, 30, 90, 180, 360
# What is found is taken out of the text, so that no later row finds a part of it again.
_LENGTHS: Final[Sequence[tuple[int, re.Pattern[str]]]] = (
    (_DAY, re.compile(rf"{_COUNT}\s*(?:天|日(?!元|本|[服区版]))卡?|[日天]卡")),
    (_WEEK, re.compile(rf"{_COUNT}\s*(?:个?星期|周)|周卡|周会员|包周")),
    (_MONTH, re.compile(rf"{_COUNT}\s*个月卡?")),
    (_MONTH, re.compile(rf"{_FEW}月(?!\d)卡?|月卡|月会员(?!卡)|包月|月度|单月|月费")),
    (_QUARTER, re.compile(rf"{_FEW}个?季度?卡?|季卡|季会员|包季|季度|季费")),
    (_HALF, re.compile(r"半年[卡度]?")),
    (_YEAR, re.compile(rf"{_FEW}年卡?|年卡|包年|年度|年费")),
    (_MONTH, re.compile(r"月(?=$|[\s/|-])")),
    (_QUARTER, re.compile(r"季(?=$|[\s/|-])")),
    (_YEAR, re.compile(r"年(?=$|[\s/|-])")),
)
_SAME_DAYS: Final = {31: _MONTH, 91: _QUARTER, 92: _QUARTER, 183: _HALF, 182: _HALF, 365: _YEAR, 366: _YEAR}
_LASTS: Final = re.compile(r"[天日周期月季年]")  # without one of these no length is said
_DIGIT: Final = re.compile(r"[0-9]")
_FOR_EVER: Final = re.compile(r"永久|终身")
_APART: Final = re.compile(r"会员|超级|黄金|豪华")  # words of their own, wherever they stand
_HARMLESS: Final = frozenset({"vip", "会员"})  # one of them more says nothing
# A name that is made of these alone could be anybody's: then only the brand says whose.
_ANYBODYS: Final = re.compile(
    r"会员|s?vip|超级|豪华|黄金|白金|钻石|代金|优惠|抵用|电子|券|卡|购物|礼品|礼|储值|充值|话费|流量|加油包|外卖|红包|无限|"
    r"大|标准|专业|个人|版|书|课|体检|套餐|预约|商城|兑换|码|[\W\d_]"
)
_POINTS: Final = re.compile(r"[\[\]【】「」『』《》<>(){}|,、。;:!~*#_·]+")
_WORDS: Final = re.compile(r"[a-z]+|[^\x00-\x7f]+")


@dataclass(frozen=True)
class _Said:
    """What a title says, taken apart. lengths: in days, 0 is for ever. words: Latin words, and pairs of characters."""

    brands: frozenset[str]
    says: frozenset[Delivers]
    lengths: frozenset[int]
    regions: frozenset[str]
    amounts: tuple[Amount, ...]
    words: frozenset[str]

    @property
    def delivers(self) -> Delivers | None:
        """What it is, unless it says nothing of that, or both."""
        return next(iter(self.says)) if len(self.says) == 1 else None


class Index:
    """Our SKUs, prepared once for many titles."""

    def __init__(self, skus: Iterable[Ours]) -> None:
        self._skus = list(skus)
        brands = {_plain(one.brand) for one in self._skus} | {row[0] for row in _ALIASES[:-1]}
        self._brand = re.compile("|".join(map(re.escape, sorted(brands - {""}, key=len, reverse=True))))
        # Most SKUs share their names, and nearly all their specifications: each is read once.
        read, brands_in, anybodys = cache(self._read), cache(self._brands_in), cache(_is_anybodys)
        self._said = [_together(read(one.name), read(one.spec)) for one in self._skus]
        self._brands = [brands_in(_plain(one.brand)) for one in self._skus]
        self._anybodys = [anybodys(one.name) for one in self._skus]
        self._having: dict[str, list[int]] = defaultdict(list)
        for place, said in enumerate(self._said):
            for word in said.words:
                self._having[word].append(place)

    def suggest(self, title: str, delivers: Delivers | None = None, limit: int = SHOWN_MAX) -> list[Suggestion]:
        """The likeliest SKUs for a title, the best first. delivers: as the supplier says it; None where he does not."""
        theirs = self._read(title, delivers)
        found = [one for place in self._near(theirs.words) if (one := self._compared(place, theirs))]
        found.sort(key=lambda one: (-one.score, one.sku))
        return [
            one._replace(sure=one.sure and rank == 0 and one.score - _score_of(found[1:2]) >= LEAD)
            for rank, one in enumerate(found[:limit])
        ]

    def _read(self, title: str, delivers: Delivers | None = None) -> _Said:
        text = _CHATTER.sub(" ", _plain(title))
        says = {Delivers.TOPUP: _TOPS_UP.search(text), Delivers.CARDS: _CARDS.search(text)}
        said = [delivers] if delivers else [kind for kind, found in says.items() if found]
        brands = self._brands_in(text)
        for brand in brands:
            if any(letter.isdigit() for letter in brand):  # its number counts nothing
                text = text.replace(brand, " ")
        lengths, text = _lengths(text)
        regions, text = _regions(text)
        amounts, text = _amounts(text)
        # Apart, or the pair of characters where a brand meets the next word would be a word of its own.
        words = _words(self._brand.sub(r" \g<0> ", _OF_DELIVERY.sub(" ", text)))
        return _Said(brands, frozenset(said), lengths, regions, amounts, frozenset(words))

    def _brands_in(self, text: str) -> frozenset[str]:
        return frozenset(self._brand.findall(text))

    def _near(self, words: Iterable[str]) -> list[int]:
        """The SKUs worth a closer look: those that share most with a title, counted by how rare it is."""
        weights = {word: self._weight(word) for word in words if word in self._having}
        left, places = sum(weights.values()) / 2, set[int]()
        for word in sorted(weights, key=lambda one: (-weights[one], one)):
            if left <= 0 and len(places) >= LOOKED_AT_MAX:
                break  # a SKU that has only what is common to thousands is none that would be suggested
            places.update(self._having[word])
            left -= weights[word]
        worth = {place: sum(weights[word] for word in self._said[place].words & weights.keys()) for place in places}
        return sorted(worth, key=lambda place: (-worth[place], place))[:LOOKED_AT_MAX]

    def _weight(self, word: str) -> float:
        """A word that few SKUs have says more; one that none has says most."""
        return math.log(1 + (len(self._skus) + 1) / (1 + len(self._having.get(word, ()))))

    def _compared(self, place: int, theirs: _Said) -> Suggestion | None:
        """What speaks for this SKU, or None where something speaks against it."""
        sku, ours, brands = self._skus[place], self._said[place], self._brands[place]
        if theirs.brands and brands and theirs.brands.isdisjoint(brands | ours.brands):
            return None
        if sku.delivers and theirs.delivers and sku.delivers != theirs.delivers:
            return None
        amount = _agreement_of_amounts(ours.amounts, theirs.amounts)
        length = _agreement(ours.lengths, theirs.lengths)
        region = _agreement(ours.regions, theirs.regions)
        if None in (amount, length, region):
            return None
        branded = not theirs.brands.isdisjoint(brands)
        explained = ours.words | set().union(*map(_words, brands)) | _HARMLESS
        meant = theirs.words - (_HARMLESS - ours.words)
        score = math.sqrt(self._share(ours.words, theirs.words) * self._share(meant, explained))
        delivery = "+" if sku.delivers and sku.delivers == theirs.delivers else ""
        if ours.delivers is Delivers.TOPUP and not theirs.delivers:
            delivery = "-"  # its name says that it is a top-up, and there is a card of the same name, as a rule
        agrees = {
            "name": "+" if ours.words <= theirs.words <= explained else "-",
            "brand": "+" if branded else "-" if self._anybodys[place] else "",
            "length": length,
            "region": region,
            "amount": amount,
            "delivery": delivery,
        }
        doubts = sum(sign == "-" for what, sign in agrees.items() if what not in ("name", "brand"))
        score *= DOUBT**doubts
        if score < WORTH_SHOWING:
            return None
        why = tuple(sign.strip("+") + what for what, sign in agrees.items() if sign)
        return Suggestion(sku.sku, round(score, 3), "-" not in agrees.values(), why)

    def _share(self, words: frozenset[str], among: Iterable[str]) -> float:
        """How much of the words is among the others, by what they say."""
        whole = sum(map(self._weight, words))
        return sum(map(self._weight, words.intersection(among))) / whole if whole else 1.0


def _together(name: _Said, spec: _Said) -> _Said:
    return _Said(
        name.brands | spec.brands,
        name.says | spec.says,
        name.lengths | spec.lengths,
        name.regions | spec.regions,
        name.amounts + spec.amounts,
        name.words | spec.words,
    )


def _is_anybodys(name: str) -> bool:
    return not _ANYBODYS.sub("", _lengths(_plain(name))[1])


def called(title: str) -> str:
    """A title as far as it says what a thing is: what sellers write to be seen, and how they write it, is left out."""
    words = " ".join(_CHATTER.sub(" ", _plain(title)).split())
    return re.sub(r"(?<![0-9]) | (?![0-9])", "", words)  # two numbers stay two


def fills(theirs: Sequence[Wish], ours: Sequence[Wish]) -> dict[str, str]:
    """Which of our fields each of a supplier's may take, as far as name or label say so: his name → ours."""
    found = {}
    for his in theirs:
        said = {_bare(his.name), _bare(his.label)} - {""}
        same = [one.name for one in ours if said & {_bare(one.name), _bare(one.label)}]
        if len(same) == 1:
            found[his.name] = same[0]
    return found


def _bare(text: str) -> str:
    """What is left of the name of a field without the words that say that it is one."""
    return re.sub(r"[\W_]|account|number|no$|id$|账号|帐号|号码|号|充值|请输入|输入|填写|您的|的", "", _plain(text))


def _plain(text: str) -> str:
    """NFKC without case and punctuation, everything under its first name."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _NAMES.sub(lambda found: _FIRST_NAMES[found[0]], _POINTS.sub(" ", folded))


_FIRST_NAMES: Final = {name: row[0] for row in _ALIASES for name in row}
_NAMES: Final = re.compile(
    "|".join(
        rf"(?<![a-z]){re.escape(name)}(?![a-z])" if name.isascii() else re.escape(name)
        for name in sorted(_FIRST_NAMES, key=len, reverse=True)
    )
)


def _lengths(text: str) -> tuple[frozenset[int], str]:
    """How long it lasts, in days, and the text without that; 0 is for ever."""
    found = {0} if _FOR_EVER.search(text) else set()
    if found:
        text = _FOR_EVER.sub(" ", text)
    if not _LASTS.search(text):
        return frozenset(found), text
    for days, pattern in _LENGTHS:
        for one in pattern.finditer(text):
            said = one.groupdict().get("n") or "1"
            length = days * (_SPOKEN.get(said) or int(said))
            found.add(_SAME_DAYS.get(length, length))
        text = pattern.sub(" ", text)
    return frozenset(found), text


def _regions(text: str) -> tuple[frozenset[str], str]:
    """For where it is, and the text without that."""
    found = frozenset(region for region, pattern in _REGIONS.items() if pattern.search(text))
    for region in found:
        text = _REGIONS[region].sub(" ", text)
    return found, text


def _amounts(text: str) -> tuple[tuple[Amount, ...], str]:
    """The numbers, and the text without them and their units."""
    found: list[Amount] = []
    if not _DIGIT.search(text):
        return (), text
    for unit, pattern in _UNITS:
        for one in pattern.finditer(text):
            whole, _, part = one["n"].partition(".")
            part = part.rstrip("0")
            found.append(Amount(f"{int(whole)}.{part}" if part else str(int(whole)), unit))
        text = pattern.sub(" ", text)
    return tuple(found), text


def _words(text: str) -> set[str]:
    words: set[str] = set()
    for run in _WORDS.findall(_APART.sub(r" \g<0> ", text)):
        if run.isascii() or len(run) == 1:
            words.add(run)
        else:
            words.update(run[at : at + 2] for at in range(len(run) - 1))
    return words


def _agreement(ours: frozenset[int] | frozenset[str], theirs: frozenset[int] | frozenset[str]) -> str | None:
    """``+`` both say the same, ``-`` one says nothing, nothing if neither does; None if they say different things."""
    if ours and theirs:
        return "+" if ours == theirs else None
    return "-" if ours or theirs else ""


def _agreement_of_amounts(ours: Sequence[Amount], theirs: Sequence[Amount]) -> str | None:
    """The same for numbers; a number of ours that is not among theirs is another thing, one more of theirs a doubt."""
    if not ours or not theirs:
        return "-" if ours or theirs else ""
    left, sure = Counter(theirs), True
    for amount in ours:
        same = [one for one in left if one.number == amount.number and left[one]]
        if amount in same:
            left[amount] -= 1
            continue
        alike = [one for one in same if not {one.unit, amount.unit} <= _MONEY]
        if not alike:
            return None
        left[alike[0]] -= 1
        sure = False
    return "+" if sure and not +left else "-"


def _score_of(following: Sequence[Suggestion]) -> float:
    return following[0].score if following else 0.0
