"""Examples in docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import dnas_mmseg

from .conftest import import_timm


def modules():
    names = (found.name for found in pkgutil.walk_packages(dnas_mmseg.__path__, 'dnas_mmseg.'))
    return [n for n in names if 'pretrained_models' not in n and '.mim' not in n]


def examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in modules():
        if name.endswith('__main__'):
            continue
        module = importlib.import_module(name)
        for test in finder.find(module, name):
            if test.examples and any(doctest.SKIP not in e.options for e in test.examples):
                yield pytest.param(test, id=test.name)


EXAMPLES = list(examples())


def test_there_are_examples():
    assert len(EXAMPLES) > 20


@pytest.mark.parametrize('test', EXAMPLES)
def test_an_example(test, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if test.name.endswith('.TIMMEncoder'):
        import_timm()
    printed = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=printed.append)
    assert runner.summarize(verbose=False).failed == 0, ''.join(printed)
