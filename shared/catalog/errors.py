"""How the catalogue says no."""

from __future__ import annotations

from shared.kernel.errors import Refusal


class UnknownSku(Refusal):
    """facts: sku."""

    code, status = "unknown_sku", 404
    zh = "没有规格 {sku}。"
    en = "There is no SKU {sku}."


class UnknownProduct(Refusal):
    """facts: product_id."""

    code, status = "unknown_product", 404
    zh = "没有这个商品。"
    en = "There is no such product."


class NotForSale(Refusal):
    """facts: sku. Its fulfilment is not open yet: it is shown, and cannot be bought."""

    code, status = "not_for_sale", 409
    zh = "规格 {sku} 暂不出售。"
    en = "SKU {sku} is not for sale at present."


class NoStockToShare(Refusal):
    """facts: sku. Its codes are made or bought when they are sold."""

    code, status = "no_stock_to_share", 409
    zh = "规格 {sku} 没有自有库存，不能设置安全库存、保底或最短有效期。"
    en = "SKU {sku} has no stock of its own: safety, floors and min_days do not apply to it."


class FloorAboveQuota(Refusal):
    """facts: channel."""

    code, status = "floor_above_quota", 422
    zh = "渠道 {channel} 的保底数量大于其配额，多出的卡将无法售出。"
    en = "The floor of channel {channel} is above its quota: the cards beyond it could never be sold."


class UnreadableFile(Refusal):
    code, status = "unreadable_file", 422
    zh = "无法读取文件：请使用 UTF-8 或 GBK 编码的 CSV。"
    en = "The file cannot be read: it should be CSV in UTF-8 or GBK."


class WrongColumns(Refusal):
    """facts: missing and repeated, lists of column names."""

    code, status = "wrong_columns", 422
    zh = "表头不符：缺少 {missing}，重复 {repeated}。"
    en = "The header does not fit: missing {missing}, repeated {repeated}."
