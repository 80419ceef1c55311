"""What an order's buyer is told about it after delivery."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple


class Notice(StrEnum):
    REPLACED = "replaced"
    REFUNDED_RECALL = "refunded_recall"
    NO_SUPPLY = "no_supply"
    WRONG_ACCOUNT = "wrong_account"


class Sentences(NamedTuple):
    zh: str
    en: str


NOTICES: Mapping[Notice, Sentences] = MappingProxyType(
    {
        Notice.REPLACED: Sentences(
            "您购买的部分卡券因批次问题已被召回，我们已免费为您更换，请重新查看卡密。",
            "Some of your cards were recalled with their lot; we have replaced them free of charge. Look again.",
        ),
        Notice.REFUNDED_RECALL: Sentences(
            "您购买的卡券因批次问题已被召回，款项将原路退回。",
            "Your cards were recalled with their lot; your money goes back the way it came.",
        ),
        Notice.NO_SUPPLY: Sentences(
            "部分商品暂时无法供货，未交付部分的款项将原路退回。",
            "Some of what you bought cannot be had at the moment; your money for it goes back the way it came.",
        ),
        Notice.WRONG_ACCOUNT: Sentences(
            "您填写的充值账号不存在或有误，未充值，款项将原路退回。请核对账号后重新下单。",
            "The account you gave does not exist or is wrong. Nothing was topped up, and your money goes back the way "
            "it came. Check the account and order again.",
        ),
    }
)
