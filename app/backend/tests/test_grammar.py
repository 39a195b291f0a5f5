from __future__ import annotations

from dataclasses import dataclass

import pytest

from todo_backend.chat.grammar import Add, Command, Delete, Help, Mark, Show, is_group, parse, resolve


@pytest.mark.parametrize(
    ("message", "command"),
    [
        # adding
        ("add buy milk", Add("buy milk")),
        ("Add buy milk to my list.", Add("buy milk")),
        ("please add a task to buy milk", Add("buy milk")),
        ("add a task: buy milk", Add("buy milk")),
        ("Add task Buy Milk", Add("Buy Milk")),
        ("add a new task called buy milk", Add("buy milk")),
        ('add "buy milk, eggs and bread" to my todo list, please', Add("buy milk, eggs and bread")),
        ("create a reminder to call mum", Add("call mum")),
        ("make a new todo: water the plants", Add("water the plants")),
        ("new task: pay rent", Add("pay rent")),
        ("todo: pay rent", Add("pay rent")),
        ("remind me to call mum!", Add("call mum")),
        ("Don’t forget to feed the cat", Add("feed the cat")),
        ("do not forget the cake", Add("the cake")),
        ("I need to file my taxes", Add("file my taxes")),
        ("I have to file my taxes", Add("file my taxes")),
        ("could you add buy milk?", Add("buy milk")),
        ("I'd like to add buy milk", Add("buy milk")),
        ("hi, please add buy milk, thanks", Add("buy milk")),
        ("add buy milk with description 2 litres, semi-skimmed", Add("buy milk", "2 litres, semi-skimmed")),
        ("add see whether the oven is done", Add("see whether the oven is done")),
        ("remind me to delete the old photos", Add("delete the old photos")),
        ("add finish the report", Add("finish the report")),
        # listing
        ("list", Show()),
        ("show my tasks", Show()),
        ("Show me my todo list", Show()),
        ("what's on my list?", Show()),
        ("what are my tasks", Show()),
        ("tasks", Show()),
        ("list all tasks", Show()),
        ("show completed tasks", Show(True)),
        ("which tasks are done?", Show(True)),
        ("what have I finished", Show(True)),
        ("show open tasks", Show(False)),
        ("list my pending tasks", Show(False)),
        ("which tasks are not done", Show(False)),
        ("what do I have to do?", Show(False)),
        ("what is left to do", Show(False)),
        # completing
        ("complete buy milk", Mark("buy milk")),
        ("complete task 2", Mark("task 2")),
        ("mark buy milk as done", Mark("buy milk")),
        ("Mark task 2 as completed.", Mark("task 2")),
        ("mark all tasks as done", Mark("all tasks")),
        ("set task 2 to done", Mark("task 2")),
        ("make task 2 done", Mark("task 2")),
        ("check off buy milk", Mark("buy milk")),
        ("tick buy milk off my list", Mark("buy milk")),
        ("I finished buy milk", Mark("buy milk")),
        ("I've done the laundry", Mark("the laundry")),
        ("I have already completed the laundry", Mark("the laundry")),
        ("I am done with the laundry", Mark("the laundry")),
        ("done with the laundry", Mark("the laundry")),
        ("the laundry is done", Mark("the laundry")),
        ("finish the report", Mark("the report")),
        # opening again
        ("reopen buy milk", Mark("buy milk", False)),
        ("mark buy milk as not done", Mark("buy milk", False)),
        ("mark buy milk as open again", Mark("buy milk", False)),
        ("the laundry is not done", Mark("the laundry", False)),
        ("the laundry isn't finished yet", Mark("the laundry", False)),
        ("I haven't finished the laundry", Mark("the laundry", False)),
        # deleting
        ("delete buy milk", Delete("buy milk")),
        ("remove buy milk from my list", Delete("buy milk")),
        ("delete task 3", Delete("task 3")),
        ("get rid of the second task", Delete("the second task")),
        ("delete all completed tasks", Delete("all completed tasks")),
        ("clear completed tasks", Delete("completed tasks")),
        ("forget about the party", Delete("the party")),
        # neither
        ("help", Help()),
        ("hello!", Help()),
        ("What can you do?", Help()),
        ("", Help()),
        ("the weather is nice", Help(understood=False)),
        ("add", Help(understood=False)),
        ("delete", Help(understood=False)),
    ],
)
def test_parse(message: str, command: Command) -> None:
    assert parse(message) == command


@dataclass(frozen=True)
class Item:
    title: str
    completed: bool = False


MILK, BREAD, REPORT, DONE = Item("Buy milk"), Item("Buy bread"), Item("Write the report"), Item("Call mum", True)
TASKS = [MILK, BREAD, REPORT, DONE]


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("buy milk", [MILK]),
        ("milk", [MILK]),
        ("the milk", [MILK]),
        ("“Buy Milk”", [MILK]),
        ("buy", [MILK, BREAD]),
        ("report write", [REPORT]),
        ("the report task", [REPORT]),
        ("task 2", [BREAD]),
        ("2", [BREAD]),
        ("#2", [BREAD]),
        ("number 2", [BREAD]),
        ("task number 2", [BREAD]),
        ("the second task", [BREAD]),
        ("first one", [MILK]),
        ("task one", [MILK]),
        ("the last task", [DONE]),
        ("task 0", []),
        ("task 5", []),
        ("the car", []),
        ("all", TASKS),
        ("all my tasks", TASKS),
        ("everything", TASKS),
        ("all completed tasks", [DONE]),
        ("completed tasks", [DONE]),
        ("all the open tasks", [MILK, BREAD, REPORT]),
        ("all tasks that are done", [DONE]),
        ("all tasks that are not done", [MILK, BREAD, REPORT]),
        ("", []),
        ("the", []),
    ],
)
def test_resolve(reference: str, found: list[Item]) -> None:
    assert resolve(reference, TASKS) == found


def test_a_whole_title_wins_over_everything_else() -> None:
    two, everything = Item("2"), Item("all hands meeting")
    assert resolve("2", [MILK, BREAD, two]) == [two]
    assert resolve("all hands meeting", [MILK, everything]) == [everything]
    assert not is_group("all hands meeting") and is_group("all tasks") and not is_group("buy")


def test_long_nonsense_is_answered_quickly() -> None:
    assert parse("is are done not " * 125) is not None
    assert parse("add " + "a " * 1000) is not None
