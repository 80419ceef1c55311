"""No code, key or account comes out of what is stored of a supplier's words."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.suppliers.redaction import LENGTH_MAX, redacted

CODES = st.one_of(
    st.text(min_size=5, max_size=40),
    st.from_regex(r"[A-Z0-9]{4}(-[A-Z0-9]{4}){1,3}", fullmatch=True),
    st.from_regex(r"[A-Za-z]{6,20}", fullmatch=True),
    st.from_regex(r"[0-9]{6,20}", fullmatch=True),
)

ANSWERS: dict[str, Callable[[str], str]] = {
    "dujiao": lambda code: json.dumps(
        {
            "ok": True,
            "order_id": 101,
            "fulfillment": {
                "type": "auto",
                "payload": code,
                "delivery_data": {"entries": [{"code": code}], "id": code, code: 1},
            },
            "manual_form_data": {"QQ": code},
        }
    ),
    "kasushou": lambda code: json.dumps(
        {
            "code": 200,
            "msg": "成功",
            "data": [
                {
                    "ordersn": "D1007",
                    "card_list": [{"card_no": code, "card_password": code, "card_show_type": 1}, code],
                    "recharge_info": [{"n": "QQ", "v": code, "k": "recharge_account"}],
                }
            ],
        },
        ensure_ascii=False,
    ),
    "kashangwl": lambda code: urllib.parse.urlencode(
        {
            "order_id": "749915828461",
            "state": "200",
            "cards": json.dumps([{"card_no": code, "card_password": code}]),
            "cards[0][card_password]": code,
            "tickets[0][ticket]": code,
            "recharge_account": code,
            "sign": code,
        }
    ),
    "kashangwl order": lambda code: json.dumps(
        {"code": "ok", "data": {"state": 200, "cards": [{"no": code, "password": code}], "recharge_account": code}}
    ),
    "acg": lambda code: json.dumps(
        {"code": 200, "msg": "success", "data": {"tradeNo": "1", "secret": code, "leave_message": code, "url": code}}
    ),
    "fulu": lambda code: json.dumps(
        {
            "code": 0,
            "result": json.dumps({"order_state": "success", "cards": [{"card_number": code, "card_pwd": code}]}),
        }
    ),
    "reloadly": lambda code: json.dumps([{"cardNumber": code, "pinCode": code}]),
    "reloadly token": lambda code: json.dumps({"access_token": code, "token_type": code, "expires_in": 5}),
    "unheard of": lambda code: json.dumps({"brand_new_field": code, "nested": {"more": [code, {"x": code}]}}),
    "cut short": lambda code: '{"code":200,"data":{"secret":' + json.dumps(code),
    "not JSON": lambda code: f"<html>payload: {code}</html>",
}


@pytest.mark.parametrize("answer", ANSWERS)
@given(code=CODES)
def test_no_code_comes_out(answer: str, code: str) -> None:
    whole = ANSWERS[answer]
    assume(code not in whole(""))  # nor is it a secret that an answer says without it
    assert code not in redacted(whole(code))
    assert json.dumps(code)[1:-1] not in redacted(whole(code))


@given(st.text(max_size=200))
def test_any_text_is_taken_and_can_be_stored(text: str) -> None:
    redacted(text).encode()


@given(st.binary(max_size=200))
def test_any_bytes_are_taken(raw: bytes) -> None:
    redacted(raw).encode()


def test_half_a_character_does_not_come_out() -> None:
    redacted('{"msg":"\\ud800"}').encode()


def test_it_is_bounded() -> None:
    assert len(redacted(json.dumps({"items": [{"order_id": number} for number in range(10_000)]}))) == LENGTH_MAX
    assert len(redacted("a=b&" * 100_000)) <= LENGTH_MAX
    assert redacted('{"a":' * 100_000) == ""


def test_what_became_of_an_order_stays_readable() -> None:
    told = json.loads(redacted('{"code":500,"msg":"商品库存不足, sorry","data":{"order_id":"749","total_price":9.90}}'))
    assert told == {"code": 500, "msg": "商品库存不足, sorry", "data": {"order_id": "749", "total_price": "9.90"}}
    assert redacted("order_id=749&state=500&cards=x") == "order_id=749&state=500&cards=***"


def test_a_code_in_a_sentence_is_taken_out_of_it() -> None:
    said = redacted('{"msg":"您的卡密：ABCD-EFGH-1234 请查收 to 13800138000, a@b.example, Key=QWERTYUI"}')
    assert said == '{"msg":"您的卡密：*** 请查收 to ***, *** ***"}'


def test_digits_in_groups_are_one_number() -> None:
    said = redacted('{"msg":"138 0013 8000, pin 1234 5678 9012 3456, 2 of 100"}')
    assert said == '{"msg":"***, pin ***, 2 of 100"}'


@given(st.text(min_size=1, max_size=20).filter(lambda typed: typed.strip() and typed not in "账号 *不存在"))
def test_what_a_buyer_has_typed_is_taken_out_of_a_sentence(typed: str) -> None:
    said = redacted(json.dumps({"msg": f"账号 {typed} 不存在"}), ["", typed])
    assert typed.casefold() not in json.loads(said)["msg"].casefold()


def test_names_that_look_like_words_are_taken_out_where_they_are_known() -> None:
    words = {"msg": "account ZhangSan not found, 充值账号张三丰不存在", "result": '{"msg":"zhangsan"}'}
    said = json.loads(redacted(json.dumps(words), ["zhangsan", "张三丰"]))
    assert said == {"msg": "account *** not found, 充值账号***不存在", "result": '{"msg":"***"}'}
    assert redacted("msg=zhangsan", ["zhangsan"]) == "msg=***"


def test_a_status_is_a_word_and_a_code_under_that_name_is_none() -> None:
    assert redacted('{"code":"invalid_sign"}') == '{"code":"invalid_sign"}'
    assert redacted('{"errorCode":"INSUFFICIENT_BALANCE"}') == '{"errorCode":"INSUFFICIENT_BALANCE"}'
    assert redacted('{"code":"WXYZABCD"}') == '{"code":"***"}'
    assert redacted('{"code":"ABCD1234EFGH"}') == '{"code":"***"}'
    assert redacted('{"cards":[{"code":"abcdefgh"}]}') == '{"cards":[{"code":"***"}]}'


def test_names_are_left_of_what_cannot_be_read() -> None:
    assert redacted('{"code":200,"data":{"secret":"ABCD","zzz":1') == "code data secret"
    assert redacted("ABCD=EFGH") == ""
