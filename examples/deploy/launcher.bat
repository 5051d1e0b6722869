@echo off
rem The part of the desktop launcher that starts the app behind the gate. docs/deployment.md says why.
rem The keys are in the environment that this is run in. Never `setx` them: that writes them into the registry.
setlocal
rem The pyproject.toml in this folder names the app's model, and config\ has the revocation list.
cd /d "%~dp0"
set "ROBODJ_PROTECTED_ENV=true"

".venv\Scripts\robodj-secretguard.exe" exec -- ".venv\Scripts\python.exe" -m app
if %errorlevel% equ 3 (
    echo RoboDJ was not started. The lines above say why, and what to do.
    pause
    exit /b 3
)
if %errorlevel% neq 0 exit /b %errorlevel%
