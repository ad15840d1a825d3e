r"""Numbers as people and LaTeX write them, and formulas in a box: right values, by hand."""

from fractions import Fraction

import pytest

from tests.rewards.test_answers import scored
from training.utils.answers.formulas import same_formula
from training.utils.answers.numbers import last_number
from training.utils.data.formats import normalise


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("There are 3 cats.", 3),
        ("Of 1,500 seats 3 are free", 3),
        ("1,500", 1500),
        ("-0.5", Fraction(-1, 2)),
        ("10-5", 5),
        ("It is 3/4", Fraction(3, 4)),
        ("$-\\dfrac{1}{2}$", Fraction(-1, 2)),
        ("twenty-one cats", 21),
        ("3 cats in this one", 3),  # digits count before words
        ("5cm", 5),
        ("50%", 50),
        ("3.", 3),
        ("1/0", None),
        ("v2.0 of A1", None),
        ("many", None),
    ],
)
def test_the_last_number(text, number):
    assert last_number(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("10{,}000", 10000),
        ("$10,\\!000$", 10000),
        ("-1\\,000\\,000", -1000000),
        ("1 000", 1000),  # all of it
        ("Rooms 120 300", 300),
        ("(2,\\,3)", 3),
        ("Some 1 000 seats", 1000),
        ("1'000", 1000),
        ("–5", -5),
        ("10–5", 5),
        ("2½ cups", Fraction(5, 2)),
        ("¾", Fraction(3, 4)),
        ("12 cm²", 12),
        ("5²", 25),
        ("3{,}14", Fraction(314, 100)),
        ("12 cm^2", 12),
        ("12\\text{ m}^{3}", 12),
        ("x^2", None),
        ("2^{10}", 1024),
        ("1.5e3", 1500),
        ("1e-05", Fraction(1, 100000)),
        ("-1.5 \\times 10^{3}", -1500),
        ("5 x 10^-2", Fraction(5, 100)),
        ("2 1/2", Fraction(5, 2)),
        ("-2\\frac{1}{2}", Fraction(-5, 2)),
        ("2\\frac{3}{2}", 3),  # a product
        ("\\frac34", Fraction(3, 4)),
        ("3 7/2", Fraction(7, 2)),
        ("one hundred", 100),
        ("Five hundred thousand", 500000),
        ("2.5 million", 2500000),
        ("one hundred and five", None),
        ("two thousand, three hundred", None),
        ("one hundred. Two", 2),
        ("1" * 5000, None),  # more digits than Python takes
        ("0^{-1}", None),
    ],
)
def test_numbers_in_other_spellings(text, number):
    assert last_number(text) == number


@pytest.mark.parametrize("label", ["1e-05", 1e-5, 0.00001])
def test_a_label_that_is_a_small_number_of_json(label):
    found = normalise({"prompt": "How much?", "label": label}).label
    assert scored("number", found, "0.00001", "1e-5", "5") == [1, 1, 0]


def test_a_large_number_of_json_is_written_out():
    assert normalise({"prompt": "How much?", "label": 1e20}).label == "1" + 20 * "0"
    assert [normalise({"prompt": "?", "label": label}).label for label in (12, 12.0, -0.5)] == [
        "12",
        "12.0",
        "-0.5",
    ]


@pytest.mark.parametrize(
    ("label", "right", "wrong"),
    [
        (
            "12",
            ["\\boxed{12}", "\\boxed{ 12.0 }", "4, no: \\boxed{$12$}"],
            ["12", "\\boxed{13}", "\\boxed{12 cats}"],
        ),
        (
            "\\frac{1}{2}",
            ["\\boxed{\\dfrac{1}{2}}", "\\boxed{0.5}", "\\boxed{1/2}"],
            ["\\boxed{\\frac{2}{1}}"],
        ),
        (
            "4\\sqrt{3}",
            ["\\boxed{4 \\sqrt{3}}", "\\boxed{\\left4\\sqrt{3}\\right}"],
            ["\\boxed{4}", "\\boxed{3}"],
        ),
        ("\\frac{3}{4}", ["\\boxed{\\frac34}", "\\boxed{.75}"], ["\\boxed{\\frac43}", "\\boxed{34}"]),
        ("x^{2}+1", ["\\boxed{x^2 + 1}"], ["\\boxed{x2+1}", "\\boxed{1}"]),
        ("10,000", ["\\boxed{10000}"], ["\\boxed{10}"]),
        ("50\\%", ["\\boxed{50%}", "\\boxed{50}"], ["\\boxed{0.5}"]),
        ("30^\\circ", ["\\boxed{30}", "\\boxed{30^{\\circ}}"], ["\\boxed{-30}"]),
        ("\\text{dog}", ["\\boxed{dog}"], ["\\boxed{cat}", "<think>\\boxed{dog}</think>"]),
    ],
)
def test_boxed(label, right, wrong):
    assert scored("boxed", label, *right) == [1] * len(right)
    assert scored("boxed", label, *wrong) == [0] * len(wrong)


@pytest.mark.parametrize(
    ("label", "answer", "same"),
    [
        ("2,3", "9,3", False),
        ("2,3", "3", False),
        ("2,3", "2, 3", True),
        ("-2,1", "5,1", False),
        ("2", "1,2", False),
        ("1200", "1, 200", False),
        ("10,\\!000", "99,\\!000", False),
        ("10,\\!000", "10000", True),
        ("10{,}000", "10,000", True),
        ("1\\,000", "2\\,000", False),
        ("1\\,000", "1000", True),
        ("0", "1 000", False),
        ("1 1/2", "7 1/2", False),
        ("1 1/2", "0.5", False),
        ("1 1/2", "11/2", False),
        ("1 1/2", "1.5", True),
        ("2 3", "23", False),
        ("\\frac 1 2 x", "\\dfrac{1}{2}x", True),
        ("10", "{10}^3", False),
        ("12 cm^2", "12 cm^3", False),
        ("1500", "1.5 \\cdot 10^3", True),
    ],
)
def test_a_box_is_one_number_or_the_same_formula(label, answer, same):
    assert same_formula(label, answer) is same
    assert scored("boxed", label, f"\\boxed{{{answer}}}") == [float(same)]
