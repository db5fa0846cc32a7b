"""What waits between two threads."""

import threading

from action_images_ros.ros.mailbox import Mailbox


def test_the_oldest_gives_way_and_is_handed_back():
    box = Mailbox(2)
    assert [box.put(i) for i in range(5)] == [None, None, 0, 1, 2]
    assert [box.take() for _ in range(3)] == [3, 4, None]


def test_between_threads_each_item_comes_out_once_on_one_side_or_the_other():
    box, gave_way, taken, n = Mailbox(3), [], [], 20_000
    ended = threading.Event()

    def take_all() -> None:
        while True:
            last = ended.is_set()
            item = box.take()
            if item is not None:
                taken.append(item)
            elif last:
                return

    reader = threading.Thread(target=take_all)
    reader.start()
    gave_way.extend(old for old in map(box.put, range(n)) if old is not None)
    ended.set()
    reader.join(60.0)
    assert sorted(gave_way + taken) == list(range(n))
    assert taken == sorted(taken) and taken[-1] == n - 1
