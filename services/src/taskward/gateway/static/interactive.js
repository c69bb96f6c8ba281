/* Which task it is stands in the query; the other pages show it, too. */
"use strict";

const query = new URLSearchParams(location.search);
document.getElementById("task").textContent = [query.get("taskId"), query.get("runId")].filter(Boolean).join(" / ");
for (const link of document.querySelectorAll("a")) link.search = location.search;
