"""The kinds of payment providers there are adapters for, and the ways to pay that buyers can choose."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Method(NamedTuple):
    """needs_payer: the provider wants to know who pays before it can be asked."""

    zh: str
    en: str
    needs_payer: bool = False


class Kind(NamedTuple):
    """adapter: module and class. terms and keys: what a merchant of this kind must give; `more` it may."""

    adapter: tuple[str, str]
    methods: Mapping[str, Method]
    terms: frozenset[str]
    keys: frozenset[str]
    more: frozenset[str] = frozenset({"gateway"})


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "wechat": Kind(
            ("shared.payments.adapters.wechat", "WeChat"),
            {
                "wechat_native": Method("微信扫码支付", "WeChat Pay (scan)"),
                "wechat_jsapi": Method("微信内支付", "WeChat Pay (inside WeChat)", needs_payer=True),
                "wechat_h5": Method("微信支付（手机浏览器）", "WeChat Pay (mobile browser)"),
            },
            frozenset({"appid", "mchid"}),
            frozenset({"serial", "private_key", "apiv3_key", "platform_key_id", "platform_key"}),
        ),
        "alipay": Kind(
            ("shared.payments.adapters.alipay", "Alipay"),
            {
                "alipay_qr": Method("支付宝扫码支付", "Alipay (scan)"),
                "alipay_page": Method("支付宝（电脑）", "Alipay (desktop)"),
                "alipay_wap": Method("支付宝（手机）", "Alipay (mobile)"),
            },
            frozenset({"app_id", "seller_id"}),
            frozenset({"private_key", "alipay_key"}),
        ),
        "stripe": Kind(
            ("shared.payments.adapters.stripe", "Stripe"),
            {"stripe": Method("银行卡（Stripe）", "Card (Stripe)")},
            frozenset({"publishable_key"}),
            frozenset({"api_key", "webhook_secret"}),
        ),
        "epay": Kind(
            ("shared.payments.adapters.epay", "Epay"),
            {
                "epay_alipay": Method("支付宝（易支付）", "Alipay (epay)"),
                "epay_wxpay": Method("微信（易支付）", "WeChat Pay (epay)"),
                "epay_qqpay": Method("QQ 钱包（易支付）", "QQ Wallet (epay)"),
            },
            frozenset({"gateway", "pid", "allowed"}),
            frozenset({"key"}),
            frozenset(),
        ),
    }
)

SANDBOX = "sandbox"

METHODS: Mapping[str, Method] = MappingProxyType(
    {SANDBOX: Method("沙箱支付（测试）", "Sandbox (test)")}
    | {name: method for kind in KINDS.values() for name, method in kind.methods.items()}
)
