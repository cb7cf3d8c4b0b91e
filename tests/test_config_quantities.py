"""Values that are numbers."""

from __future__ import annotations

from tests.support_config import FindingsTestCase, load, model, one_model

SERVER = "cmd: x --port 1\n"
MODEL = one_model(SERVER)


class WholeTests(FindingsTestCase):
    """Counts and times."""

    def test_good(self) -> None:
        """Whole numbers in any form that YAML has for them, quoted or not."""
        decimal = (("300", 300), ("+5", 5), ("1_800", 1800), ("'60'", 60), ("300.0", 300), ("0", 0), ("0.0", 0))
        for text, value in (*decimal, ("0x10", 16), ("0o10", 8), ("0b11", 3), ("1e3", 1000), ("1.5e+1", 15)):
            self.assertEqual(model(f"{SERVER}ttl: {text}").ttl, value)

    def test_bad(self) -> None:
        """Anything else is told, with seconds where a duration was meant; `010` may be 8 or 10."""
        for text in ("soon", "1.5", "15e-1", "0x", "010", "''", "[1]", "true", "9" * 30):
            self.assert_errors(one_model(f"{SERVER}ttl: {text}"), (5, "models.m.ttl", "whole number of seconds"))
        for text, seconds in (("30s", 30), ("10m", 600), ("2 h", 7200), ("1d", 86400)):
            self.assert_errors(one_model(f"{SERVER}ttl: {text}"), (5, "models.m.ttl", f"write {seconds}"))

    def test_ranges(self) -> None:
        """Each number has its limits."""
        for key, value in (
            ("ttl", -2),
            ("unloadTimeout", -1),
        ):
            self.assert_errors(one_model(f"{SERVER}{key}: {value}"), (5, f"models.m.{key}", f"not {value}"))
        for key, value in (("globalTTL", -1), ("unloadTimeout", -1), ("startPort", 0), ("startPort", 65536)):
            self.assert_errors(f"{key}: {value}\n{MODEL}", (1, key, f"not {value}"))

    def test_for_ever(self) -> None:
        """Times beyond all waiting are as good as the longest."""
        text = one_model(f"{SERVER}ttl: {10**12}")
        self.assertEqual(load(text).config.models["m"].ttl, 2**31 - 1)
        self.assert_warnings(text, (5, "models.m.ttl", "longer than can be waited for"))

    def test_health_check_timeout(self) -> None:
        """Less than 15 seconds are raised to 15, with a warning."""
        for value in (-1, 0, 14):
            text = f"healthCheckTimeout: {value}\n{MODEL}"
            self.assertEqual(load(text).config.health_check_timeout, 15)
            self.assert_warnings(text, (1, "healthCheckTimeout", f"raised from {value} to 15"))
        self.assert_warnings(f"healthCheckTimeout: 15\n{MODEL}")

    def test_zero_is_default(self) -> None:
        """Where nothing would work with zero, it is the default."""
        self.assertEqual(load(f"unloadTimeout: 0\n{MODEL}").config.models["m"].unload_timeout, 10)
        self.assertEqual(model(f"{SERVER}concurrencyLimit: 0").concurrency_limit, 10)
        text = one_model(f"{SERVER}concurrencyLimit: -1")
        self.assertEqual(load(text).config.models["m"].concurrency_limit, 10)
        self.assert_warnings(text, (5, "models.m.concurrencyLimit", "of requests, not -1; taken as 10, the default"))
        self.assertEqual(load(f"captureBuffer: -1\n{MODEL}").config.capture_buffer, 0)

    def test_fallbacks(self) -> None:
        """A model without a value of its own has the global one."""
        top = "globalTTL: 60\nunloadTimeout: 5\n"
        for lines, ttl, unload in (
            ("", 60, 5),
            ("ttl: -1\nunloadTimeout: 0", 60, 5),
            ("ttl: 0\nunloadTimeout: 7", 0, 7),
        ):
            told = load(top + one_model(SERVER + lines)).config.models["m"]
            self.assertEqual((told.ttl, told.unload_timeout), (ttl, unload))


class SecondsTests(FindingsTestCase):
    """Times with decimals."""

    def test_seconds(self) -> None:
        """Decimal numbers from 0, and nothing else."""
        for text, value in (("0", 0.0), ("2.5", 2.5), ("10", 10.0), ("010", 10.0)):
            self.assertEqual(load(f"maxWait: {text}\n{MODEL}").config.max_wait, value)
        for text in ("-1", "1e3", ".inf", "nan", "5s", "[1]", "9" * 400):
            self.assert_errors(f"maxWait: {text}\n{MODEL}", (1, "maxWait", "number of seconds"))


class SizeTests(FindingsTestCase):
    """Numbers of bytes."""

    def test_sizes(self) -> None:
        """Bytes, or powers of 1024 in any of the usual spellings."""
        mega = 1024 * 1024
        for text, value in (
            ("1", 1),
            ("1_048_576", mega),
            ("64M", 64 * mega),
            ("64m", 64 * mega),
            ("64MB", 64 * mega),
            ("256MiB", 256 * mega),
            ("256 MiB", 256 * mega),
            ("512k", mega // 2),
            ("2G", 2048 * mega),
        ):
            self.assertEqual(load(f"maxRequestBody: {text}\n{MODEL}").config.max_request_body, value, text)
        for text in ("0", "-1", "64X", "1.5G", "MiB", "lots", "[1]", "9" * 30):
            self.assert_errors(f"maxRequestBody: {text}\n{MODEL}", (1, "maxRequestBody", "64M or 256MiB"))
