"""Why a job failed, in words for the person who asked for it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

UPLOAD_MAX: Final = 64 * 1024 * 1024  # bytes: a million codes, and read in half of a worker's time
SPREADSHEET_MAX: Final = 16 * 1024 * 1024  # bytes: it is opened in memory, and 100,000 rows take about 4 MB
LINES_MAX: Final = 250_000  # what a worker checks, and an undo counts, well within its time
EXPORT_MAX: Final = 10_000  # cards in one export: what a person can still answer for, and one archive in memory
LOTS_MAX: Final = 200  # of one file: each has a data key of its own


class Sentences(NamedTuple):
    zh: str
    en: str


class Failed(Exception):
    """The job cannot go on; `reason` is one of REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


REASONS: Final[Mapping[str, Sentences]] = MappingProxyType(
    {
        "upload_missing": Sentences(
            "没有收到文件：请把文件 PUT 到 upload_url 后再检查",
            "No file has come: PUT it to the upload_url of a new import, then check",
        ),
        "upload_too_large": Sentences(
            f"文件超过 {UPLOAD_MAX >> 20} MB（表格 {SPREADSHEET_MAX >> 20} MB）：请拆分后分次导入",
            f"The file is larger than {UPLOAD_MAX >> 20} MB ({SPREADSHEET_MAX >> 20} MB for a spreadsheet): split it",
        ),
        "too_many_rows": Sentences(
            f"文件超过 {LINES_MAX:,} 行：请拆分后分次导入", f"The file has more than {LINES_MAX:,} lines: split it"
        ),
        "too_many_lots": Sentences(
            f"文件中的批次超过 {LOTS_MAX} 个：请拆分后分次导入", f"The file names more than {LOTS_MAX} lots: split it"
        ),
        "unreadable_spreadsheet": Sentences(
            "无法打开表格：请另存为 .xlsx 或 UTF-8 的 CSV", "The spreadsheet does not open: save it as .xlsx or as CSV"
        ),
        "expired": Sentences("options 中的到期日已过", "The expiry day given in the options is over"),
        "unreadable_file": Sentences(
            "无法读取文件：请使用 UTF-8 或 GBK 编码的 CSV", "The file cannot be read: it should be CSV in UTF-8 or GBK"
        ),
        "wrong_columns": Sentences("表头不符：缺少或重复了列", "The header does not fit: columns missing or repeated"),
        "rows_gone": Sentences(
            "检查结果已超过保存期限：请重新上传",
            "What was checked is not kept any longer: upload it anew",
        ),
        "lot_changed": Sentences(
            "导入过程中批次被召回、销毁或更换了密钥：其余的行未入库，请用新任务导入",
            "A lot was recalled, destroyed or given a new key meanwhile: import the other rows anew",
        ),
        "no_cards": Sentences("没有符合条件的卡", "There is no such card"),
        "too_many_cards": Sentences(
            f"超过 {EXPORT_MAX:,} 张：请按批次分次导出", f"They are more than {EXPORT_MAX:,} cards: export lot by lot"
        ),
        "export_limit": Sentences(
            "申请人今天的导出数量已达上限：请明天重新申请",
            "The asker has reached the number of cards of one day: ask again tomorrow",
        ),
        "refused": Sentences("申请被拒绝", "The request was refused"),
        "code_unreadable": Sentences(
            "有卡密或密钥校验失败，任务已停止，未作替换；请查看告警",
            "A code or a key failed its integrity check: the job has stopped, nothing was replaced; see the alarm",
        ),
        "lot_destroyed": Sentences("批次的密钥已销毁", "The keys of the lot have been destroyed"),
    }
)
