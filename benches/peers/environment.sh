# Sourced by `run`, `neighbour`, `step` and `train` from the repository's root: finds or makes the interpreter `$PYTHON` that has the peers.
here=benches/peers
if [ -z "${PYTHON:-}" ]; then
    venv=target/peers/venv
    PYTHON=$venv/bin/python
    if ! cmp -s $here/requirements.txt $venv/installed.txt; then
        echo "peers: installing the peers into $venv (once; PYTHON=… uses an interpreter that has them)" >&2
        mkdir -p target/peers
        python3 -m venv $venv
        # This index has torch without CUDA's 3 GB; where it cannot be reached, pip goes on with the usual one.
        "$PYTHON" -m pip install --quiet --disable-pip-version-check \
            --extra-index-url https://download.pytorch.org/whl/cpu -r $here/requirements.txt
        cp $here/requirements.txt $venv/installed.txt
    fi
fi
export PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1
"$PYTHON" -c 'import sys, numpy; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || {
    echo "peers: $PYTHON is not Python 3.10 or newer with NumPy; without PYTHON=… the peers are installed" >&2
    exit 2
}
