# Runs a command and sees to its end, so that it never outlives whoever started this script: the end of standard
# input, however it comes about, kills the command. A line on standard input is a signal to send.
#
# usage: sh -c "$(cat guard.sh)" guard FOLDER COMMAND [ARGUMENT...]
#
# FOLDER is removed after the command has ended; "" removes nothing.
folder=$1
shift

exec 3<&0
"$@" </dev/null 3<&- &
child=$!
{
    while read -r signal; do kill -s "$signal" "$child"; done
    kill -s KILL "$child"
} <&3 2>/dev/null &
reader=$!

wait "$child"
code=$?
kill "$reader" 2>/dev/null

# Others that use the folder die at the same moment, and may still write into it for a little while.
if [ -n "$folder" ]; then
    tries=0
    while [ "$tries" -lt 100 ] && { ! rm -rf "$folder" 2>/dev/null || [ -e "$folder" ]; }; do
        tries=$((tries + 1))
        sleep 0.1
    done
fi
exit "$code"
