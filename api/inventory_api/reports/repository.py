"""Each report is one statement, which sees one state of the database.

| report | how | with a million items |
|---|---|---|
| statistics | items counted in one pass, all else in indexes of what is open | a pass over the items |
| value | items and levels summed in one pass each | a pass over both |
| low stock | items with a minimum, from where the page before ended | as many of these as it takes to fill a page |
| use | item by item from where the page before ended | as many items as it takes to fill a page |
| overdue | the open loans that were due, by who has them | as many as are overdue |
| most used | the loans of the range, summed by item for each page | a pass over the loans |
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, DateTime, bindparam, column, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from inventory_api.reads import ReadRow, Reads, Statement

_MOST = 2**62
_STATISTICS = Statement(
    text(
        """
        SELECT now() AS as_of, items.*, units.*, loans.*,
          (SELECT count(*) FROM users WHERE active) AS active_people,
          (SELECT count(*) FROM reservations WHERE status = 'booked') AS reservations_booked,
          (SELECT count(*) FROM reservations WHERE status = 'waiting') AS reservations_waiting,
          (SELECT count(*) FROM reservations WHERE status = 'ready') AS reservations_ready
        FROM
          (SELECT
             count(*) FILTER (WHERE tracking = 'quantity') AS items_by_quantity,
             count(*) FILTER (WHERE tracking = 'units') AS items_by_units,
             count(*) FILTER (WHERE tracking = 'kit') AS kits,
             count(*) AS items,
             count(archived_at) AS items_archived,
             coalesce(sum(quantity), 0) AS owned,
             coalesce(sum(quantity - on_loan), 0) AS on_hand,
             coalesce(sum(on_loan), 0) AS on_loan,
             coalesce(sum(reserved), 0) AS reserved
           FROM items) AS items,
          (SELECT
             count(*) FILTER (WHERE state = 'lendable') AS units_lendable,
             count(*) FILTER (WHERE state = 'in-repair') AS units_in_repair,
             count(*) FILTER (WHERE state = 'retired') AS units_retired,
             count(*) FILTER (WHERE state = 'lost') AS units_lost
           FROM units) AS units,
          (SELECT
             count(*) AS open_loans,
             count(*) FILTER (WHERE due_at < now()) AS overdue_loans
           FROM loans
           WHERE returned_at IS NULL AND kit_loan_id IS NULL) AS loans
        """
    ).columns()
)
_LOW_STOCK = Statement(
    text(
        """
        SELECT id, name, sku, category_id, minimum_stock, quantity, on_loan, reserved,
          quantity - on_loan - reserved AS available,
          minimum_stock - CASE WHEN :on_hand THEN quantity - on_loan ELSE quantity - on_loan - reserved END AS missing
        FROM items
        WHERE id > :after AND minimum_stock > 0 AND archived_at IS NULL
          AND CASE WHEN :on_hand THEN quantity - on_loan ELSE quantity - on_loan - reserved END < minimum_stock
        ORDER BY id
        LIMIT :limit
        """
    )
    .bindparams(
        bindparam("after", type_=BigInteger), bindparam("limit", type_=BigInteger), bindparam("on_hand", type_=Boolean)
    )
    .columns()
)
# A kit is lent and due as one; its parts would be counted beside it.
_OVERDUE = Statement(
    text(
        """
        WITH
          late AS MATERIALIZED (
            SELECT
              user_id,
              count(*) AS loans,
              sum(quantity - returned - lost) AS outstanding,
              min(due_at) AS oldest_due_at,
              count(*) FILTER (WHERE due_at >= now() - interval '7 days') AS days_1_to_7,
              count(*) FILTER (WHERE due_at < now() - interval '7 days'
                AND due_at >= now() - interval '30 days') AS days_8_to_30,
              count(*) FILTER (WHERE due_at < now() - interval '30 days') AS days_31_and_more
            FROM loans
            WHERE returned_at IS NULL AND due_at < now() AND kit_loan_id IS NULL
            GROUP BY user_id),
          page AS (
            SELECT late.*, users.name, users.email
            FROM late JOIN users ON users.id = user_id
            WHERE user_id > :after
            ORDER BY user_id
            LIMIT :limit)
        SELECT
          count(*) AS people,
          coalesce(sum(loans), 0)::bigint AS loans,
          coalesce(sum(outstanding), 0)::bigint AS outstanding,
          coalesce(sum(days_1_to_7), 0)::bigint AS days_1_to_7,
          coalesce(sum(days_8_to_30), 0)::bigint AS days_8_to_30,
          coalesce(sum(days_31_and_more), 0)::bigint AS days_31_and_more,
          (SELECT coalesce(jsonb_agg(to_jsonb(page) ORDER BY user_id), '[]') FROM page) AS page
        FROM late
        """
    ).columns(
        *(column(name) for name in ("people", "loans", "outstanding", "days_1_to_7", "days_8_to_30")),
        column("days_31_and_more"),
        column("page", JSONB),
    )
)


def _use_of(items: str, order: str, **parameters: TypeEngine[Any]) -> Statement:
    """For these items, the loans of the months from `starts` to `ends` that are given with each use."""
    months = f"""
        SELECT items.*, used.*
        FROM
          ({items}) AS items
          CROSS JOIN LATERAL
          (SELECT
             coalesce(sum(loans), 0)::bigint AS loans,
             coalesce(round(sum(days), 2), 0)::double precision AS loan_days,
             coalesce(jsonb_agg(
               jsonb_build_object('since', since, 'loans', loans, 'loan_days', round(days, 2)) ORDER BY since), '[]')
               AS months
           FROM
             (SELECT
                part.since,
                count(*) FILTER (WHERE lent_at >= part.since) AS loans,
                sum(extract(epoch FROM
                  greatest(least(coalesce(returned_at, now()), part.until) - greatest(lent_at, part.since),
                    interval '0')) / 86400) AS days
              FROM
                loans
                JOIN unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[])) AS part (since, until)
                  ON lent_at < part.until
                    AND (lent_at >= part.since OR coalesce(returned_at, now()) > part.since)
              WHERE item_id = items.id
              GROUP BY part.since) AS months) AS used
        ORDER BY {order}
        """  # noqa: S608 - both are written below
    named: dict[str, TypeEngine[Any]] = {
        "after": BigInteger(),
        "limit": BigInteger(),
        "since": DateTime(timezone=True),
        "until": DateTime(timezone=True),
        **parameters,
    }
    given = (bindparam(name, type_=kind) for name, kind in named.items())
    return Statement(text(months).bindparams(*given).columns(column("id"), column("months", JSONB)))


_USE = _use_of(
    """
    SELECT id, name, sku
    FROM items
    WHERE id > :after AND archived_at IS NULL
      AND (:lent IS NULL OR :lent = EXISTS (
        SELECT FROM loans
        WHERE item_id = items.id AND lent_at < :until
          AND (lent_at >= :since OR coalesce(returned_at, now()) > :since)))
    ORDER BY id
    LIMIT :limit
    """,
    "items.id",
    lent=Boolean(),
)
# What is added to item_id keeps the planner from reading the loans item by item through the index: that takes three
# times as long as to read them all as they lie.
_MOST_USED = _use_of(
    """
    SELECT items.id, items.name, items.sku, number
    FROM
      (SELECT item_id, number
       FROM
         (SELECT item_id + 0 AS item_id,
            CASE WHEN :by_days THEN
              sum(date_part('epoch', least(coalesce(returned_at, now()), :until) - greatest(lent_at, :since)))::bigint
            ELSE count(*) FILTER (WHERE lent_at >= :since) END AS number
          FROM loans
          WHERE lent_at < :until AND (lent_at >= :since OR coalesce(returned_at, now()) > :since)
          GROUP BY 1) AS used
       WHERE (-number, item_id) > (:after_number, :after)
       ORDER BY number DESC, item_id
       LIMIT :limit) AS ranked
      JOIN items ON items.id = item_id
    """,
    "number DESC, items.id",
    after_number=BigInteger(),
    by_days=Boolean(),
)
# Sums of what may each be large are taken as numeric, which has no end.
_VALUE = Statement(
    text(
        """
        WITH RECURSIVE
          branches AS (
            SELECT id, id AS top FROM categories WHERE parent_id IS NULL
            UNION ALL
            SELECT categories.id, branches.top FROM categories JOIN branches ON categories.parent_id = branches.id),
          of_category AS (
            SELECT category_id, sum(quantity * unit_value_cents::numeric) AS cents,
              count(*) FILTER (WHERE unit_value_cents IS NULL) AS unvalued
            FROM items WHERE quantity > 0 GROUP BY category_id),
          of_branch AS (
            SELECT branches.top AS id, sum(coalesce(cents, 0)) AS cents, sum(unvalued) AS unvalued
            FROM of_category LEFT JOIN branches ON branches.id = of_category.category_id
            GROUP BY branches.top),
          of_location AS (
            SELECT location_id AS id, sum((on_hand + stock_levels.on_loan) * unit_value_cents::numeric) AS cents
            FROM stock_levels JOIN items ON items.id = item_id
            WHERE unit_value_cents > 0 AND on_hand + stock_levels.on_loan > 0
            GROUP BY location_id)
        SELECT now() AS as_of,
          (SELECT coalesce(sum(cents), 0) FROM of_branch) AS total_cents,
          (SELECT coalesce(sum(unvalued), 0) FROM of_branch) AS items_without_value,
          (SELECT coalesce(jsonb_agg(
             jsonb_build_object('category_id', id, 'name', name, 'value_cents', cents, 'items_without_value', unvalued)
             ORDER BY cents DESC, id), '[]')
           FROM
             (SELECT of_branch.*, categories.name FROM of_branch LEFT JOIN categories USING (id)
              ORDER BY cents DESC, id LIMIT :most) AS first) AS categories,
          (SELECT coalesce(jsonb_agg(
             jsonb_build_object('location_id', id, 'name', name, 'value_cents', cents) ORDER BY cents DESC, id), '[]')
           FROM
             (SELECT of_location.*, locations.name FROM of_location JOIN locations USING (id)
              ORDER BY cents DESC, id LIMIT :most) AS first) AS locations
        """
    ).columns(
        *(column(name) for name in ("as_of", "total_cents", "items_without_value")),
        column("categories", JSONB),
        column("locations", JSONB),
    )
)


async def statistics(reads: Reads) -> ReadRow:
    (row,) = await reads.rows(_STATISTICS)
    return row


async def low_stock(reads: Reads, after: int, limit: int, *, on_hand: bool) -> Sequence[ReadRow]:
    """In the order of the items' ids; by what is on hand, or by what of that is available."""
    return await reads.rows(_LOW_STOCK, after=after, limit=limit, on_hand=on_hand)


async def overdue(reads: Reads, after: int, limit: int) -> ReadRow:
    """Sums of all, and in `page` a row for each person, in the order of their ids."""
    (row,) = await reads.rows(_OVERDUE, after=after, limit=limit)
    return row


async def use(
    reads: Reads, after: int, limit: int, months: Sequence[tuple[datetime, datetime]], lent: bool | None
) -> Sequence[ReadRow]:
    """A row for each item, in the order of their ids, with the months in which it was lent.

    `months` follow one another without a gap; `lent` tells whether the items were lent at some time in them.
    """
    return await reads.rows(
        _USE,
        after=after,
        limit=limit,
        lent=lent,
        since=months[0][0],
        until=months[-1][1],
        starts=[start for start, _ in months],
        ends=[end for _, end in months],
    )


async def most_used(
    reads: Reads,
    after: tuple[int, int] | None,
    limit: int,
    months: Sequence[tuple[datetime, datetime]],
    *,
    by_days: bool,
) -> Sequence[ReadRow]:
    """The same of items that were lent in these months, by how often or for how many seconds; `number` tells that."""
    number, item_id = after or (_MOST, 0)
    return await reads.rows(
        _MOST_USED,
        after_number=-number,
        after=item_id,
        limit=limit,
        by_days=by_days,
        since=months[0][0],
        until=months[-1][1],
        starts=[start for start, _ in months],
        ends=[end for _, end in months],
    )


async def value(reads: Reads, most: int) -> ReadRow:
    """Sums with the `most` categories and locations that are worth the most."""
    (row,) = await reads.rows(_VALUE, most=most)
    return row
