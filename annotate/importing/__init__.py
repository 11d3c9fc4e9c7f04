"""Reading files of comparisons and prompts, line by line, without trusting any of them.

``lines`` cuts bytes into lines under caps, ``strict_json`` turns a line into an object, one module a format turns an
object into a row, ``reader`` puts them together and fills a ``Report``. Nothing here touches the database.
"""
