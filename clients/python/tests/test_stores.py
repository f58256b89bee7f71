"""Stores: what they keep, for whom, and what happens to damaged files."""

import os
import stat
import tempfile
import unittest
from pathlib import Path

from tidewire import FileStore, MemoryStore, Saved, Store

SAVED = Saved(cursor="c1", ticket="t1", documents=[{"_id": "ä"}], tail=[{"type": "removed", "_id": 1}])


class StoreTest(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "states"

    async def test_a_store_gives_back_what_it_keeps(self) -> None:
        stores: list[Store] = [MemoryStore(), FileStore(self.folder)]
        for store in stores:
            self.assertIsNone(await store.load("a"))
            await store.save("a", SAVED)
            await store.save("b", Saved(cursor="c2", ticket="t2"))
            self.assertEqual(await store.load("a"), SAVED)
            self.assertEqual(await store.load("b"), Saved(cursor="c2", ticket="t2"))
            await store.remove("a")
            await store.remove("a")
            self.assertIsNone(await store.load("a"))
        self.assertEqual(len(os.listdir(self.folder)), 1)

    async def test_only_the_user_can_read_the_files(self) -> None:
        await FileStore(self.folder).save("a", SAVED)
        for path in (self.folder, *self.folder.iterdir()):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode) & 0o077, 0, path)

    async def test_a_file_of_another_form_or_key_counts_as_none(self) -> None:
        store = FileStore(self.folder)
        await store.save("a", SAVED)
        (file,) = self.folder.iterdir()
        text = file.read_text("utf-8")
        file.write_text(text.replace('"format":1', '"format":2'), "utf-8")
        self.assertIsNone(await store.load("a"))
        file.write_text(text.replace('"key":"a"', '"key":"b"'), "utf-8")
        self.assertIsNone(await store.load("a"))

    async def test_a_value_that_cannot_be_written_leaves_the_old_file(self) -> None:
        store = FileStore(self.folder)
        await store.save("a", SAVED)
        with self.assertRaises(TypeError):
            await store.save("a", Saved(cursor="c2", ticket="t2", documents=[{"_id": object()}]))
        self.assertEqual(await store.load("a"), SAVED)
        self.assertEqual(len(os.listdir(self.folder)), 1)
