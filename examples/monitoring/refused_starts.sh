#!/bin/sh
# Write the metric of refused starts for node_exporter's textfile collector, from a file of start events. Each minute:
#
#   sh refused_starts.sh /var/log/robodj/events.jsonl /var/lib/robodj/refused.jsonl "$TEXTFILES/robodj_starts.prom"
#
# It also reads events.jsonl.1, where there is one. Without both it fails, so the metric becomes old, and
# RobodjStatusFileStale fires. The second file keeps the refused starts, so an alert stays until a start of that instance
# passes, also after the events were rotated away. To forget an instance that never starts again, delete its line there.
set -eu
events=$1 kept=$2 metrics=$3
[ -e "$events" ] || [ -e "$events.1" ]
touch "$kept"
{
  cat "$kept"
  for file in "$events.1" "$events"; do
    if [ -e "$file" ]; then cat "$file"; fi
  done
} >"$kept.tmp"
jq --null-input --raw-input --compact-output '
  def clean: gsub("[^A-Za-z0-9_.:@/, -]"; "?");
  # A start has its process id at the end of an instance without a name of its own.
  def pid: .process | strings | ":" + split(".")[0];
  reduce (inputs | try fromjson catch null | objects | select(.secret_event | IN("started", "refused"))) as $event ({};
    ($event | {
      secret_event,
      service: ([.namespace, .service] | map(strings) | join("/") | clean),
      instance: (((.instance | strings) // "") | rtrimstr(($event | pid) // "") | clean),
      environment: ((.environment | strings) // "" | clean),
      checks: ([.checks | .. | strings] | join(", ") | clean)
    }) as $start | .["\($start.instance) \($start.service)"] = $start
  ) | .[]' "$kept.tmp" >"$kept.all"
jq --null-input --raw-output '
  "# HELP robodj_secret_start_refused Whether the last start of an instance was refused: 1 for yes, 0 for no.",
  "# TYPE robodj_secret_start_refused gauge",
  (inputs | "robodj_secret_start_refused{service=\"\(.service)\",robodj_environment=\"\(.environment)\","
    + "instance=\"\(.instance)\",checks=\"\(.checks)\"} "
    + if .secret_event == "refused" then "1" else "0" end)' "$kept.all" >"$metrics.tmp"
jq --compact-output 'select(.secret_event == "refused")' "$kept.all" >"$kept.tmp"
mv "$metrics.tmp" "$metrics"
mv "$kept.tmp" "$kept"
rm "$kept.all"
